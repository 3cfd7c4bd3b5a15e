"""Signed documents as they come in: read, meant for this appliance, in their time, and by a key that is enrolled."""

from appliance.authority import Custodian, Operator, Workload
from appliance.errors import Refusal, Refused
from appliance.nouns.proofs import CLOCK_TOLERANCE
from appliance.standing import Standing
from coldcred import names
from coldcred.command import Approval, Command, parse_approval, parse_command
from coldcred.errors import BadSignature, ColdcredError, Malformed, UnknownSigner

LONGEST_APPROVAL = 4096
"""Characters of an approval; it is kept whole even where it does not count."""


def read_command(standing: Standing, token: str) -> Command:
    """Read and verify a command meant for this appliance and epoch; raises `Refused`."""
    try:
        command = parse_command(token, standing.authority.signer_key)
    except ColdcredError as error:
        raise _unread(error) from error
    _check_addressee(standing, command)
    return command


def read_approval(standing: Standing, token: str) -> Approval:
    """Read and verify an approval meant for this appliance and epoch; raises `Refused`."""
    if len(token) > LONGEST_APPROVAL:
        raise Refused(Refusal.MALFORMED, f"an approval of {len(token)} characters, of at most {LONGEST_APPROVAL}")
    try:
        approval = parse_approval(token, standing.authority.approver_key)
        names.check_texts(approval.reason, "reason")
    except ColdcredError as error:
        raise _unread(error) from error
    _check_addressee(standing, approval)
    return approval


def _unread(error: ColdcredError) -> Refused:
    reasons: dict[type[ColdcredError], Refusal] = {
        Malformed: Refusal.MALFORMED,
        UnknownSigner: Refusal.UNKNOWN_SIGNER,
        BadSignature: Refusal.BAD_SIGNATURE,
    }
    return Refused(reasons.get(type(error), Refusal.MALFORMED), str(error))


def _check_addressee(standing: Standing, document: Command | Approval) -> None:
    authority = standing.authority
    if document.appliance != authority.founding.appliance_id:
        raise Refused(Refusal.WRONG_APPLIANCE, f"it names appliance {document.appliance[:16]}")
    if document.epoch != authority.epoch:
        raise Refused(Refusal.WRONG_EPOCH, f"it names epoch {document.epoch}, this is epoch {authority.epoch}")


def check_begun(document: Command | Approval, now: int) -> None:
    """Refuse what was signed more than 120 s in the future.

    Outcomes are remembered for longer than a command can live, which is reckoned from now. So a command that begins
    later is turned away and leaves nothing; it is good once its time has come.
    """
    if document.issued_at > now + CLOCK_TOLERANCE:
        raise Refused(Refusal.NOT_YET_VALID, f"it was signed {document.issued_at - now} s in the future")


def check_time(document: Command | Approval, now: int) -> None:
    """Hold a command or approval to its own times: at most 120 s from the future, not at or after its end."""
    check_begun(document, now)
    if now >= document.expires_at:
        raise Refused(Refusal.EXPIRED, f"it ended {now - document.expires_at} s ago")


def signer(standing: Standing, document: Command) -> Operator | Custodian | Workload:
    """Give the person or the workload whose key signed a command; refuse where the key was retired meanwhile."""
    found = standing.authority.signer(document.signer)
    if found is None:
        raise Refused(Refusal.UNKNOWN_SIGNER, "the key that signed it was retired", rule="R3 enrolled people")
    return found


def approver(standing: Standing, approval: Approval) -> Operator | Custodian:
    """Give whoever signed an approval that was read a moment ago; its key is enrolled, or it could not be read."""
    found = standing.authority.approver(approval.signer)
    if found is None:
        raise Refused(Refusal.UNKNOWN_SIGNER, "the key that signed the approval was retired", "R3 enrolled people")
    return found
