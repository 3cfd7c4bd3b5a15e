"""Tests of the HSM floor."""
