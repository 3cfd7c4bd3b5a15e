"""The appliance: signed commands in, logged events out, signatures only from the HSM."""

__version__ = "0.1.0"
