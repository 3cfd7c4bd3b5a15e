"""Terms and request files, as the appliance gives them to whoever reads: what is needed to approve away from it."""

from collections.abc import Collection

from appliance.authority import Authority
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups, Request
from appliance.standing import Archive
from coldcred.requests import RequestFile
from coldcred.terms import Signer, Terms

SHORTEST_ID = 8
"""Hexadecimal characters by which a request may be named where they are those of one only."""


def terms(authority: Authority, now: int, named: Collection[str] | None = None, requester: str | None = None) -> Terms:
    """Give the terms at `now`: every person's and custodian's keys and all profiles, or only those in `named`.

    A workload's key is among them only where it is the `requester`.
    """
    signers = {kid: Signer(operator.person, operator.key) for kid, operator in authority.operators.items()}
    signers |= {kid: Signer(custodian.person, custodian.key) for kid, custodian in authority.custodians.items()}
    workload = authority.workloads.get(requester or "")
    if workload is not None and workload.key is not None:
        signers[workload.key.thumbprint] = Signer(workload.id, workload.key)
    found = [profile for name, profile in sorted(authority.profiles.items()) if named is None or name in named]
    return Terms(
        appliance=authority.founding.appliance_id,
        name=authority.founding.name,
        trust_domain=authority.founding.trust_domain,
        epoch=authority.epoch,
        time=now,
        policy=authority.policy,
        profiles=tuple(found),
        signers=signers,
    )


def find_request(lookups: Lookups, id_: str) -> Request:
    """Give the request that waits under a command id, or under its first characters; raises `Refused`."""
    found = [request for command, request in lookups.requests.items() if command.startswith(id_)]
    if len(id_) < SHORTEST_ID or len(found) != 1:
        detail = f"{len(found) or 'no'} requests wait under {id_[:16]!a}; name one by {SHORTEST_ID} characters or more"
        raise Refused(Refusal.UNKNOWN_REQUEST, detail)
    return found[0]


def request_file(authority: Authority, archive: Archive, request: Request, now: int) -> RequestFile:
    """Give a request as its approvers take it away: the command, what travels beside it, and the terms."""
    return RequestFile(
        token=archive.blob(request.document).decode("ascii"),
        attachments={digest: archive.blob(digest) for digest in request.attachments},
        terms=terms(authority, now, request.named, request.person),
    )
