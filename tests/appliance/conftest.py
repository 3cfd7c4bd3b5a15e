"""What the tests of the appliance share."""

from tests.support.founded import alone, plant, served
from tests.support.softhsm import softhsm, softhsm_prepared

__all__ = ["alone", "plant", "served", "softhsm", "softhsm_prepared"]
