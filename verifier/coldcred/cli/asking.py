"""How a machine asks: sign the request, send it over the workloads' socket, keep what comes back."""

import argparse
import errno
import http.client
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from coldcred import names
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, hex_digest, loads
from coldcred.cli import keyfile
from coldcred.cli.kept import Kept
from coldcred.cli.speech import ACCEPTED, REFUSED, Misuse, OutputLost, TooLarge, put, read_file, tell
from coldcred.command import command_claims, document_id
from coldcred.errors import Malformed
from coldcred.files import write_file
from coldcred.jose import MAX_TOKEN, Typ, parse_unverified
from coldcred.record import Record

WAITING = 3
REQUEST_LIFE = 24 * 3600
ANSWER_SECONDS = 120

_JTI_BYTES = 16
_MAX_ANSWER = 256 * 1024
_OK = 200


class _Local(http.client.HTTPConnection):
    """HTTP over a Unix socket; a path longer than an address holds is reached through its folder."""

    def __init__(self, path: Path) -> None:
        super().__init__("appliance", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


def ask(args: argparse.Namespace, lifetime: int | None) -> int:
    """Carry out `coldcred request`; `lifetime` is in seconds."""
    again = args.request is not None and Path(args.request).exists()
    try:
        token = _read_request(args, lifetime) if again else _sign(args, lifetime)
        if args.out_request is not None:
            carried = _complete(args, token) if args.request is not None else token
            write_file(Path(args.out_request), f"{carried}\n".encode(), mode=0o644, replace=False)
            put(args.out_request)
            tell("carry it to the appliance: coldcredctl submit FILE --out TOKEN")
            return ACCEPTED
    except OSError as error:
        raise Misuse(f"{error.filename}: {os.strerror(error.errno or 0)}") from error
    if args.out is None and sys.stdout is None:
        raise Misuse("standard output is closed; give --out FILE for the credential, which is given once")
    kept = Kept(token, Path(args.request)) if again else Kept.keep(token, args.request, args.out)
    try:
        return _tell(args, kept, *_send(args, token))
    except (Misuse, Malformed):
        if not again:
            kept.end()
        raise
    except OSError as error:
        why = os.strerror(error.errno or 0)
        tell(f"{why}. Whether the request was taken is not known. Run the same line again with --request {kept.path}")
        return REFUSED


def _send(args: argparse.Namespace, token: str) -> tuple[str, Record]:
    """Send a request, and complete it where people have approved it; gives its state and the rest of its outcome."""
    answer = _exchange(args.socket, "POST", "/v1/commands", {"command": token})
    if (state := answer.text("state")) == "ready":
        answer = _exchange(args.socket, "POST", "/v1/commands", {"command": _complete(args, token)})
        state = answer.text("state")
    return state, answer


def _sign(args: argparse.Namespace, lifetime: int | None) -> str:
    appliance, epoch = args.appliance, args.epoch
    if appliance is None or epoch is None:
        about = _exchange(args.socket, "GET", "/v1/appliance")
        appliance, epoch = appliance or about.digest("appliance"), epoch or about.integer("epoch", least=1)
    hex_digest(appliance)
    key = keyfile.signing_key(Path(args.key))
    return _command(key, appliance, epoch, Act.CREDENTIAL_ISSUE, _asked(args, lifetime))


def _asked(args: argparse.Namespace, lifetime: int | None) -> dict[str, Json]:
    """Give what the line asks for, as a command says it."""
    asked: dict[str, Json] = {
        "profile": names.label(args.profile, "profile name"),
        "workload": names.spiffe_id(args.id),
        "audience": names.audience(args.audience),
        "scopes": [names.scope_token(scope) for scope in args.scope] or None,
        "ttl": lifetime,
        "purpose": args.purpose,
        "task": args.task,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _complete(args: argparse.Namespace, token: str) -> str:
    """Sign that the request `token`, which other people approved, is to be carried out now."""
    jws = parse_unverified(token)
    claims = Record.of(loads(jws.payload), "request")
    appliance, epoch = claims.digest("aud"), claims.integer("epoch", least=1)
    about: dict[str, Json] = {"request": document_id(jws)}
    return _command(keyfile.signing_key(Path(args.key)), appliance, epoch, Act.REQUEST_COMPLETE, about)


def _command(key: keyfile.SigningKey, appliance: str, epoch: int, act: Act, args: dict[str, Json]) -> str:
    now = int(time.time())
    claims = command_claims(
        appliance=appliance,
        epoch=epoch,
        act=act,
        args=args,
        jti=b64u_encode(os.urandom(_JTI_BYTES)),
        issued_at=now,
        expires_at=now + REQUEST_LIFE,
    )
    return key.token(Typ.COMMAND, claims)


def _read_request(args: argparse.Namespace, lifetime: int | None) -> str:
    """Read the request that waits; it has to ask for what the line asks for, since it may be completed now."""
    name = args.request
    try:
        token = read_file(name, MAX_TOKEN + 1).decode("ascii").removesuffix("\n")
    except (TooLarge, UnicodeDecodeError) as error:
        raise Malformed(f"{name} is no signed request") from error
    claims = Record.of(loads(parse_unverified(token).payload), "request")
    if (claims.value("act"), claims.value("args")) != (Act.CREDENTIAL_ISSUE, _asked(args, lifetime)):
        raise Misuse(f"{name} holds another request than this line asks for; name another --request")
    return token


def _exchange(path: str, method: str, route: str, body: Json = None) -> Record:
    """Ask the appliance one question; what it refuses to take up is `Malformed` or `Misuse`, with its own words."""
    connection = _Local(Path(path))
    try:
        connection.connect()
    except OSError as error:
        raise Misuse(f"no appliance answers at {path}: {os.strerror(error.errno or 0)}") from error
    try:
        data = None if body is None else dumps(body)
        connection.request(method, route, data, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = Record.of(loads(response.read(_MAX_ANSWER), max_bytes=_MAX_ANSWER), "answer")
    except http.client.HTTPException as error:
        raise ConnectionResetError(errno.ECONNRESET, "the connection broke") from error
    finally:
        connection.close()
    if response.status != _OK:
        raise _Refused(answer.text("error"), answer.text("detail"))
    return answer


class _Refused(Malformed):
    """The appliance took nothing up."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self._name = name

    @property
    def id(self) -> str:
        """The appliance's own word for it."""
        return self._name


def _tell(args: argparse.Namespace, kept: Kept, state: str, answer: Record) -> int:
    """Say what became of the request; the credential goes to a file or to standard output, and nowhere else.

    A request that came to its end has no use for its file, and in its place the same line would never ask anew.
    """
    for warning in answer.texts("warnings"):
        tell(f"warning: {warning}")
    if state == "refused":
        kept.end()
        tell(f"refused ({answer.text('reason')}): {answer.text('detail')}. The refusal is in the appliance's log.")
        return REFUSED
    if state != "done":
        need, have = answer.integer("need"), ", ".join(answer.texts("have")) or "nobody"
        tell(f"waiting: it takes {need} people, so far {have}; then run the same line again with --request {kept.path}")
        with suppress(OutputLost):  # it is said above
            put(str(kept.path))
        return WAITING
    files = answer.record("files")
    if not files.has("token"):
        kept.end()
        tell(f"refused (told-once): this was given before, and only once. {kept.path} is spent and was removed:")
        tell("the same line again makes a new request.")
        return REFUSED
    credential = b64u_decode(files.text("token", max_chars=2 * MAX_TOKEN))
    try:
        if args.out is None:
            put(credential.decode("ascii"))
        else:
            write_file(Path(args.out), credential)
    except (OSError, OutputLost) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        kept.end()
        jti = answer.record("result").text("jti")
        tell(f"the credential was issued, and {args.out or 'standard output'} cannot be written: {why}.")
        tell(f"Nobody holds {jti}: have it revoked at the appliance, make room, and ask anew.")
        return REFUSED
    kept.end()
    if args.out is not None:
        put(args.out)
    return ACCEPTED
