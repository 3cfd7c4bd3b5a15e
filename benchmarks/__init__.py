"""The benchmark table: what issuing, verifying and starting cost, against limits measured in the same run."""
