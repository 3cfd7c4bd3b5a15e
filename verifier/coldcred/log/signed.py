"""Signed documents in the log: read again from their stored bytes, under the keys of that moment, and who signed them.

Nothing that an entry says of a command or an approval is believed; it is held to what was signed.
"""

from coldcred.acts import Principal
from coldcred.command import Approval, Command, parse_approval, parse_command
from coldcred.errors import ColdcredError, LogReason, LogRejected
from coldcred.founding import Founding
from coldcred.keys import PublicKey
from coldcred.log.blobs import Blobs
from coldcred.log.operators import Operators
from coldcred.log.workloads import Workloads

EPOCH = 1


class Documents:
    """The commands and approvals that entries name, as far as the log has been read."""

    def __init__(self, founding: Founding, blobs: Blobs, operators: Operators, workloads: Workloads) -> None:
        """Read from `blobs`; who holds which key is asked of `operators` and `workloads`."""
        self._founding = founding
        self._blobs = blobs
        self._operators = operators
        self._workloads = workloads

    def command(self, digest: str) -> Command:
        """Read the command with this SHA-256; `LogRejected` where it is none that was signed for this appliance."""
        token = _text(self._blobs.read(digest))
        try:
            command = parse_command(token, self._key_of)
        except ColdcredError as error:
            raise _bad(f"its command: {error}") from error
        self._check_addressee(command)
        return command

    def approval(self, digest: str) -> Approval:
        """Read the approval with this SHA-256; `LogRejected` as for `command`."""
        token = _text(self._blobs.read(digest))
        try:
            approval = parse_approval(token, self._operators.key)
        except ColdcredError as error:
            raise _bad(f"its approval: {error}") from error
        self._check_addressee(approval)
        return approval

    def signer(self, kid: str) -> Principal:
        """Give whoever signs with this key at present; `LogRejected` where nobody does."""
        if (workload := self._workloads.holder(kid)) is not None:
            return Principal(workload)
        if (person := self._operators.principal(kid)) is None:
            raise _bad("it is signed by a key that was retired")
        return person

    def _key_of(self, kid: str) -> PublicKey | None:
        """Give the key of a command's signer; a retired one too, since it may have signed what is under way."""
        return self._workloads.key(kid) or self._operators.key(kid) or self._operators.retired_key(kid)

    def _check_addressee(self, document: Command | Approval) -> None:
        if (document.appliance, document.epoch) != (self._founding.appliance_id, EPOCH):
            raise _bad("rests on what was signed for another appliance or epoch")


def _text(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise _bad("the blob it names is no signed document") from error


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
