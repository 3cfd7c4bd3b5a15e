"""What the fault campaigns share."""

from tests.support.serving import mine, ready
from tests.support.softhsm import softhsm, softhsm_prepared

__all__ = ["mine", "ready", "softhsm", "softhsm_prepared"]
