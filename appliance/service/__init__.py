"""The appliance as a server: HTTP on the home's Unix socket, and nowhere else."""
