"""Coldcred: formats, trust and verification without a network.

Verifying takes one call:

    from coldcred import Kind, Reason, Rejected, TrustStore, verify

    found = verify(token, TrustStore.open(path), audience="https://db.example", kind=Kind.ACCESS, now=time.time())

It returns what it accepted or raises `Rejected`, whose `reason` is one of `Reason`.
"""

from coldcred.credential import Credential, Kind
from coldcred.errors import ColdcredError, Reason, Rejected
from coldcred.trust import Freshness, TrustStore
from coldcred.verification import Verified, verify

__all__ = [
    "ColdcredError",
    "Credential",
    "Freshness",
    "Kind",
    "Reason",
    "Rejected",
    "TrustStore",
    "Verified",
    "verify",
]
