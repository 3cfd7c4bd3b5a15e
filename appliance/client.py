"""Speak to an appliance: sign commands and approvals with one's own key, send them, read through one connection.

The transport is a seam. Over the home's socket it is here; the command line brings another, which is the engine itself
when nothing serves the home.
"""

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self, TypeAlias
from urllib.parse import quote, urlencode

from appliance import sockets
from appliance.errors import Refusal, Refused
from appliance.identity import Identity
from appliance.outcome import EXPORTED, MAX_FILE_TEXT, Outcome
from appliance.signing import COMMAND_LIFE, Clock, Random, Signing
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, dumps, loads
from coldcred.command import Verdict, document_id
from coldcred.errors import Malformed
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.requests import DraftFile, RequestFile

READING_LIFE = 300
ANSWER_SECONDS = 120

_READ_AT_ONCE = 1024 * 1024
_MAX_ANSWER = MAX_FILE_TEXT + 1024 * 1024
_OK = 200

TakeLines: TypeAlias = Callable[[bytes], None]
"""Takes whole lines of JSONL, each the outcome of one line of a batch."""


class ClientFault(StrEnum):
    """What can go wrong between a client and the service: closed."""

    NOT_SERVING = "not-serving"
    LOST = "connection-lost"
    PROTOCOL = "not-understood"
    BUSY = "service-busy"


class ClientError(Exception):
    """The service was not reached, or its answer was not; `lost` leaves open whether a command was carried out."""

    def __init__(self, fault: ClientFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value


class Transport(Protocol):
    """A way to one appliance; every method raises `Refused` or `ClientError`."""

    def about(self) -> Json:
        """Give the facts every screen shows: appliance, name, epoch, single_operator."""

    def command(self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str]) -> Outcome:
        """Send a command with what travels beside it."""

    def batch(self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str], take: TakeLines) -> Outcome:
        """Send a command for a batch; `take` is given the outcomes of its lines as they come, as JSONL."""

    def approval(self, token: str) -> Outcome:
        """Send an approval; the outcome is that of the command it is about."""

    def open_reading(self, token: str) -> None:
        """Open reading with a signed `read.open`."""

    def read(self, name: str, arguments: Mapping[str, str]) -> Json:
        """Read a named view, once reading is open."""

    def preview(self, act: str, args: dict[str, Json], attachments: Mapping[str, bytes]) -> Json:
        """Hear what a command for `act` would change, once reading is open."""

    def why(self, asked: dict[str, Json], attachments: Mapping[str, bytes]) -> Json:
        """Hear what became of a command, or would become of one, and by which rule, once reading is open."""

    def close(self) -> None:
        """End the connection and the reading with it."""


class SocketTransport:
    """HTTP over the home's Unix socket, on one connection."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        """Take over an open connection; `connect` makes one."""
        self._connection = connection

    @classmethod
    def connect(cls, path: Path) -> Self | None:
        """Connect to the socket `path`, or give None where nothing serves; `ClientError` where it may not be used."""
        try:
            found = sockets.connect(path, ANSWER_SECONDS)
        except OSError as error:
            raise ClientError(ClientFault.NOT_SERVING, f"{path}: {error.strerror or error}") from error
        return None if found is None else cls(_Local(found))

    def about(self) -> Json:
        """Ask who is there."""
        return self._ask("GET", "/v1/appliance")

    def command(self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str]) -> Outcome:
        """Send a command."""
        beside: dict[str, Json] = {name: b64u_encode(data) for name, data in attachments.items()}
        body: dict[str, Json] = {"command": token, "attachments": beside, "approvals": list(approvals)}
        return self._outcome("/v1/commands", body)

    def batch(self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str], take: TakeLines) -> Outcome:
        """Send a command for a batch and read its lines until the last, which is the outcome of the whole."""
        beside: dict[str, Json] = {name: b64u_encode(data) for name, data in attachments.items()}
        body: dict[str, Json] = {"command": token, "attachments": beside, "approvals": list(approvals)}
        response = self._begin("POST", "/v1/batches", body)
        if response.status != _OK:
            raise _refusal(self._value(response))
        end = loads(self._pass_on(response, take), max_bytes=_MAX_ANSWER)
        found = end.get("end") if isinstance(end, dict) else None
        if not isinstance(found, dict):
            raise self._lost("the outcome of the batch is missing")
        if "error" in found:
            raise _refusal(found)
        return _outcome(found)

    def _pass_on(self, response: http.client.HTTPResponse, take: TakeLines) -> bytes:
        """Pass lines on as they come, all but the last, which is given back."""
        last = b""
        try:
            while data := response.read1(_READ_AT_ONCE):
                last += data
                cut = last.rfind(b"\n", 0, -1) + 1
                if cut:
                    take(last[:cut])
                    last = last[cut:]
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(type(error).__name__) from error
        return last.removesuffix(b"\n")

    def approval(self, token: str) -> Outcome:
        """Send an approval."""
        return self._outcome("/v1/approvals", {"approval": token})

    def _outcome(self, path: str, body: Json) -> Outcome:
        """Send something and give its outcome; an export that comes with it is read as its pages are taken."""
        response = self._begin("POST", path, body)
        if response.status != _OK or response.headers.get_content_type() != EXPORTED:
            value = self._value(response)
            if response.status != _OK:
                raise _refusal(value)
            return _outcome(value)
        try:
            line = response.readline(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(type(error).__name__) from error
        return replace(_outcome(loads(line.removesuffix(b"\n"), max_bytes=_MAX_ANSWER)), pages=self._pages(response))

    def _pages(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        begun = False
        try:
            while data := response.read1(_READ_AT_ONCE):
                if begun or (data := data.lstrip(b"\n")):
                    begun = True
                    yield data
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(type(error).__name__) from error

    def open_reading(self, token: str) -> None:
        """Open reading on this connection."""
        self._ask("POST", "/v1/read", {"command": token})

    def read(self, name: str, arguments: Mapping[str, str]) -> Json:
        """Read on this connection."""
        query = f"?{urlencode(arguments)}" if arguments else ""
        return self._ask("GET", f"/v1/read/{quote(name, safe='')}{query}")

    def preview(self, act: str, args: dict[str, Json], attachments: Mapping[str, bytes]) -> Json:
        """Hear what a command would change, on this connection."""
        beside: dict[str, Json] = {name: b64u_encode(data) for name, data in attachments.items()}
        return self._ask("POST", "/v1/read/preview", {"act": act, "args": args, "attachments": beside})

    def why(self, asked: dict[str, Json], attachments: Mapping[str, bytes]) -> Json:
        """Hear why, on this connection."""
        beside: dict[str, Json] = {name: b64u_encode(data) for name, data in attachments.items()}
        return self._ask("POST", "/v1/read/why", {**asked, "attachments": beside} if beside else {**asked})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: Json = None) -> Json:
        response = self._begin(method, path, body)
        value = self._value(response)
        if response.status != _OK:
            raise _refusal(value)
        return value

    def _begin(self, method: str, path: str, body: Json) -> http.client.HTTPResponse:
        data = None if body is None else dumps(body)
        try:
            self._connection.request(method, path, data, {"content-type": "application/json"})
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(type(error).__name__) from error

    def _value(self, response: http.client.HTTPResponse) -> Json:
        try:
            answer = response.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(type(error).__name__) from error
        try:
            return loads(answer, max_bytes=_MAX_ANSWER)
        except Malformed as error:
            fault = ClientFault.BUSY if response.status == http.HTTPStatus.SERVICE_UNAVAILABLE else ClientFault.PROTOCOL
            raise ClientError(fault, f"an answer of status {response.status} that is not JSON") from error

    def _lost(self, what: str) -> ClientError:
        self.close()
        return ClientError(ClientFault.LOST, f"the connection broke ({what})")


class _Local(http.client.HTTPConnection):
    """An HTTP connection over a socket that is open already; it never opens another in its place."""

    auto_open = 0

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("appliance")
        self.sock = connection


def _outcome(value: Json) -> Outcome:
    try:
        return Outcome.from_json(value)
    except (Malformed, ValueError) as error:
        raise ClientError(ClientFault.PROTOCOL, f"an answer that is no outcome: {error}") from error


def _refusal(value: Json) -> Exception:
    members = value if isinstance(value, dict) else {}
    name, detail, rule = (members.get(member) for member in ("error", "detail", "rule"))
    if isinstance(name, str) and isinstance(detail, str):
        if name in set(Refusal):
            return Refused(Refusal(name), detail, rule if isinstance(rule, str) else None)
        return ClientError(ClientFault.PROTOCOL, f"{name}: {detail}")
    return ClientError(ClientFault.PROTOCOL, "an error that names no reason")


@dataclass(slots=True)
class Client:
    """A person, or nobody yet, at an appliance; signing without an `identity` is the caller's mistake (`ValueError`).

    `clock` gives Unix seconds, `random` that many random bytes. `sending` is called with the id of a command right
    before it, or an approval of it, goes out, and `heard` with what became of it.
    """

    transport: Transport
    identity: Identity | None
    clock: Clock
    random: Random
    appliance: str
    epoch: int
    single_operator: bool
    sending: Callable[[str], None] = field(default=lambda _command: None, repr=False)
    heard: Callable[[Outcome], Outcome] = field(default=lambda outcome: outcome, repr=False)
    _reading: bool = field(default=False, repr=False)

    @classmethod
    def connect(cls, to: Path | Transport, identity: Identity | None, clock: Clock, random: Random) -> Self:
        """Connect to the appliance that serves the home `to`, or through a transport; raises `ClientError`."""
        if isinstance(to, Path):
            transport: Transport | None = SocketTransport.connect(to / "operator.sock")
            if transport is None:
                raise ClientError(ClientFault.NOT_SERVING, f"nothing serves {to}")
        else:
            transport = to
        about = Record.of(transport.about(), "appliance")
        return cls(
            transport,
            identity,
            clock,
            random,
            appliance=about.digest("appliance"),
            epoch=about.integer("epoch", least=1),
            single_operator=about.boolean("single_operator"),
        )

    def command(self, act: Act, args: dict[str, Json], life: int = COMMAND_LIFE) -> str:
        """Sign a command that may be carried out for `life` seconds from now."""
        return self.signing().command(DraftFile(self.appliance, self.epoch, act, args, life))

    def request(self, command: str) -> RequestFile:
        """Read what the command with this id asks for, as its approvers see it; reading is opened first."""
        return RequestFile.read(Record.of(self.read("request", command=command), "request"))

    def send(
        self, command: str, attachments: Mapping[str, bytes] | None = None, approvals: Sequence[str] = ()
    ) -> Outcome:
        """Send a signed command, which may have been sent before: then its recorded outcome comes back."""
        self.sending(document_id(parse_unverified(command)))
        return self.heard(self.transport.command(command, attachments or {}, approvals))

    def batch(
        self, command: str, attachments: Mapping[str, bytes], approvals: Sequence[str], take: TakeLines
    ) -> Outcome:
        """Send a signed command for a batch; `take` is given its lines as they come."""
        self.sending(document_id(parse_unverified(command)))
        return self.heard(self.transport.batch(command, attachments, approvals, take))

    def ask(self, act: Act, args: dict[str, Json], attachments: Mapping[str, bytes] | None = None) -> Outcome:
        """Sign a command and send it."""
        return self.send(self.command(act, args), attachments)

    def complete(self, request: str) -> Outcome:
        """Complete a request of one's own that has its people; the outcome is that of the request."""
        return self.ask(Act.REQUEST_COMPLETE, {"request": request})

    def approve(self, command: str, verdict: Verdict = Verdict.APPROVE) -> Outcome:
        """Read the request that the command (a compact JWS) made, sign an approval of it and send that."""
        found = self.request(document_id(parse_unverified(command)))
        if found.terms is None:
            raise ClientError(ClientFault.PROTOCOL, "a request without its terms")
        return self.send_approval(self.signing().approval(found.seen(found.terms), verdict))

    def send_approval(self, token: str) -> Outcome:
        """Send a signed approval; the outcome is that of the command it is about."""
        with suppress(Malformed):  # the appliance says what is wrong with it
            self.sending(Record.of(loads(parse_unverified(token).payload), "approval").digest("command"))
        return self.heard(self.transport.approval(token))

    def signing(self) -> Signing:
        """Give what signs in this person's name; without an identity that is the caller's mistake (`ValueError`)."""
        if self.identity is None:
            raise ValueError("signing without an identity")
        return Signing(self.identity, self.clock, self.random)

    def read(self, name: str, **arguments: str) -> Json:
        """Read a named view, opening the reading first."""
        self._open_reading()
        return self.transport.read(name, arguments)

    def preview(self, act: Act, args: dict[str, Json], attachments: Mapping[str, bytes] | None = None) -> Json:
        """Hear what setting a policy or a profile would change, opening the reading first."""
        self._open_reading()
        return self.transport.preview(act.value, args, attachments or {})

    def why(self, asked: dict[str, Json], attachments: Mapping[str, bytes] | None = None) -> Json:
        """Hear why a command was, or would be, carried out or not, opening the reading first.

        `asked` names what was (`about` an id, or an `entry`), or imagines what might be (`by`, `act`, `args`).
        """
        self._open_reading()
        return self.transport.why(asked, attachments or {})

    def _open_reading(self) -> None:
        if not self._reading:
            self.transport.open_reading(self.command(Act.READ_OPEN, {}, READING_LIFE))
            self._reading = True

    def close(self) -> None:
        """End the connection."""
        self.transport.close()
