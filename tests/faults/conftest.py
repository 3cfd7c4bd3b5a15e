"""What the fault campaigns share."""

from tests.support.founded import plant
from tests.support.serving import mine, ready
from tests.support.softhsm import softhsm, softhsm_prepared

__all__ = ["mine", "plant", "ready", "softhsm", "softhsm_prepared"]
