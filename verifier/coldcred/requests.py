"""Request files: a command with all that its approvers have to see, in one file that crosses an air gap.

A file holds the command as it was signed, what travels beside it, and the terms under which it is to be approved. A
draft is the same before anybody has signed: it names an act and its arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from coldcred.acts import Act
from coldcred.asked import Asked
from coldcred.batch import BatchArguments, is_batch, read_items
from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, loads, sha256_hex
from coldcred.command import Basis, Command, parse_command, profiles_named
from coldcred.errors import Malformed, UnknownSigner
from coldcred.jose import MAX_TOKEN, parse_unverified
from coldcred.record import Record
from coldcred.rendering import frame, whole
from coldcred.terms import Terms

REQUEST, DRAFT = "coldcred-request", "coldcred-draft"
MAX_FILE = 24 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as its approver has it: the command, who signed it, the lines to read, and what approving rests on.

    `named` are the profiles that it is about.
    """

    command: Command
    by: str
    lines: tuple[str, ...]
    named: tuple[str, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A signed command (a compact JWS) and, by SHA-256, what travels beside it; `terms` where the file has them."""

    token: str
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    terms: Terms | None = None

    @classmethod
    def read(cls, record: Record) -> Self:
        """Read a request strictly; raises `Malformed`. The signature is not checked here."""
        _check_kind(record, REQUEST)
        request = cls(
            token=record.text("command", max_chars=MAX_TOKEN),
            attachments=_read_attachments(record.record("attachments")),
            terms=Terms.read(record.record("terms")) if record.has("terms") else None,
        )
        record.done()
        parse_unverified(request.token)
        return request

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a request file."""
        return cls.read(Record.of(loads(body, max_bytes=MAX_FILE), REQUEST))

    def as_json(self) -> dict[str, Json]:
        """Give it as it is written."""
        written: dict[str, Json] = {
            "v": 1,
            "kind": REQUEST,
            "command": self.token,
            "attachments": _write_attachments(self.attachments),
        }
        return written if self.terms is None else {**written, "terms": self.terms.as_json()}

    def write(self) -> bytes:
        """Give the bytes of a request file."""
        return dumps(self.as_json()) + b"\n"

    def seen(self, terms: Terms) -> Seen:
        """Verify the command under these terms and give what its approver is shown.

        Raises `Malformed`, `UnknownSigner` or `BadSignature`.
        """
        command = parse_command(self.token, terms.key_of)
        if (command.appliance, command.epoch) != (terms.appliance, terms.epoch):
            raise Malformed("the terms are those of another appliance, or of another epoch of it")
        signer = terms.signers.get(command.signer)
        if signer is None:
            raise UnknownSigner("the terms do not name who signed this")
        items = self._items(command)
        named = profiles_named(command.act, command.args, items)
        lines = tuple(whole.lines(command, signer.id, self.attachments, items))
        basis = Basis.of(
            policy=terms.policy,
            profiles=[profile for profile in terms.profiles if profile.name in named],
            attachments=self.attachments,
            shown=frame.digest(lines),
        )
        return Seen(command, signer.id, lines, named, basis)

    def _items(self, command: Command) -> tuple[Asked | str, ...]:
        if command.act is not Act.CREDENTIAL_ISSUE or not is_batch(command.args):
            return ()
        manifest = BatchArguments.read(Record(command.args, command.act)).items
        body = self.attachments.get(manifest.sha256)
        if body is None:
            raise Malformed("the lines of the batch do not travel beside it, and approving covers each of them")
        return read_items(body)


@dataclass(frozen=True, slots=True)
class DraftFile:
    """A command that nobody has signed; `life` is how long it may be carried out once signed, in seconds."""

    appliance: str
    epoch: int
    act: Act
    args: dict[str, Json] = field(repr=False)
    life: int
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    terms: Terms | None = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a draft strictly; raises `Malformed`."""
        record = Record.of(loads(body, max_bytes=MAX_FILE), DRAFT)
        _check_kind(record, DRAFT)
        draft = cls(
            appliance=record.digest("appliance"),
            epoch=record.integer("epoch", least=1),
            act=read_act(record.text("act")),
            args=record.record("args").members(),
            life=record.seconds("life", least=1),
            attachments=_read_attachments(record.record("attachments")),
            terms=Terms.read(record.record("terms")) if record.has("terms") else None,
        )
        record.done()
        return draft

    def write(self) -> bytes:
        """Give the bytes of a draft."""
        written: dict[str, Json] = {
            "v": 1,
            "kind": DRAFT,
            "appliance": self.appliance,
            "epoch": self.epoch,
            "act": self.act.value,
            "args": self.args,
            "life": self.life,
            "attachments": _write_attachments(self.attachments),
        }
        if self.terms is not None:
            written["terms"] = self.terms.as_json()
        return dumps(written) + b"\n"


def read_act(text: str) -> Act:
    """Read the name of an act; one that is none is `Malformed`."""
    if text not in set(Act):
        raise Malformed(f"unknown act {text[:48]!a}")
    return Act(text)


def _check_kind(record: Record, kind: str) -> None:
    record.version()
    if (found := record.text("kind")) != kind:
        raise Malformed(f"a {found[:48]!a} where a {kind} belongs")


def _read_attachments(record: Record) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for digest, text in record.members().items():
        body = b64u_decode(text) if isinstance(text, str) else None
        if body is None or sha256_hex(body) != digest:
            raise Malformed("something beside the command is not what its digest says")
        found[digest] = body
    return found


def _write_attachments(attachments: Mapping[str, bytes]) -> dict[str, Json]:
    return {digest: b64u_encode(body) for digest, body in attachments.items()}
