"""What the tests of the HSM floor share."""

from tests.support.softhsm import softhsm, softhsm_prepared

__all__ = ["softhsm", "softhsm_prepared"]
