"""Building rotation bundles: pure, from values and signatures made elsewhere; the reader is `coldcred.bundle`.

First the custodians' part, `root` and `targets` over the trust documents, then for each bundle the appliance's: its
documents, then the roles `site`, `snapshot` and `timestamp`, each made, logged, signed and only then the next.
"""

from appliance.bundling.documents import appliance_documents, bundle_times, one_window, trust_documents
from appliance.bundling.metadata import Unsigned, assemble, root, site, snapshot, targets, timestamp

__all__ = [
    "Unsigned",
    "appliance_documents",
    "assemble",
    "bundle_times",
    "one_window",
    "root",
    "site",
    "snapshot",
    "targets",
    "timestamp",
    "trust_documents",
]
