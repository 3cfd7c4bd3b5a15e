"""Fault campaigns: real appliances, killed, starved, edited and lied to."""
