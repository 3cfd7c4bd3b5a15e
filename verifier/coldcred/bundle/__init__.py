"""Rotation bundles at a site: making a trust store, looking into a bundle, applying one. Needs `coldcred[bundle]`.

Metadata is TUF 1.0 (python-tuf's `tuf.api`; its network client is never imported). What a bundle holds is verified as
bytes, in memory, against a given time, and nothing is stored before all of it is.
"""

from coldcred.bundle.apply import Applied, apply
from coldcred.bundle.inspection import Inspection, inspect
from coldcred.bundle.site import init

__all__ = ["Applied", "Inspection", "apply", "init", "inspect"]
