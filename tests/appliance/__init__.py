"""Tests of the appliance."""
