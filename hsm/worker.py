"""The process that holds the PKCS#11 library: `python -I -m hsm.worker FD`, exec'd by the supervisor and nobody else.

It owns one token for as long as its socket is open. Damaged token files crash SoftHSM and a crash here costs one
batch; the engine, its log and its locks live on. It believes the engine nothing: each signing input is read and
checked against the charter the key was born with (rule R13). The PIN arrives in a frame, is used where it lies and
wiped; nothing secret is in arguments, environment, core dump or the memory other processes may read.

Termination signals are ignored: a service manager sends them to every process of the service, and the engine still
has a last checkpoint to sign. When the socket closes, the process ends, even from within a hanging C call.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping

from coldcred import charter as charters
from coldcred import memory
from coldcred.canonical import Json
from coldcred.charter import KeyCharter
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from coldcred.record import Record
from hsm import cryptoki, messages, slots
from hsm.errors import CharterRefused, HsmError, Reaction, TokenFault
from hsm.frames import Channel, ChannelClosed, ChannelError
from hsm.guard import GuardedKeys
from hsm.keystore import MAX_INPUTS, MAX_PROOF, KeyOrder
from hsm.uri import TokenUri

EXIT_PROTOCOL, EXIT_USAGE, EXIT_UNLOCKED, EXIT_ORPHANED = 3, 64, 71, 75

_GRACE = 2.0
_POLL_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Worker:
    """Answers requests over one channel until it closes: `{"do": ...}` by `{"ok": ...}` or `{"error": ...}`."""

    def __init__(self, channel: Channel) -> None:
        """Serve on `channel`; no module is loaded yet."""
        self._channel = channel
        self._token: cryptoki.TokenKeys | None = None
        self._guard: GuardedKeys | None = None
        self._signatures: list[bytes] | None = None
        self._actions: Mapping[str, Callable[[Record], Json]] = {
            "open": self._open,
            "login": self._login,
            "inventory": self._inventory,
            "generate": self._generate,
            "admit": self._admit,
            "sign": self._sign,
            "kept": self._kept,
            "keep": self._keep,
            "destroy": self._destroy,
            "holds": self._holds,
            "tokens": self._tokens,
            "initialise": self._initialise,
        }

    def serve(self) -> None:
        """Answer until the channel closes or `close` is asked; raises `ChannelError` when it breaks."""
        try:
            while self._answer():
                pass
        finally:
            if self._token is not None:
                self._token.close()

    def _answer(self) -> bool:
        try:
            record = Record.of(self._channel.receive(), "request")
            what = record.text("do")
            if what == "close":
                return False
            action = self._actions.get(what)
            if action is None:
                raise Malformed(f"request: {what[:32]!a} is not known here")
            answer: dict[str, Json] = {"ok": action(record)}
        except HsmError as error:
            answer = {"error": messages.write_error(error)}
            self._signatures = None
        if self._signatures is None:
            self._channel.send(answer)
        else:
            self._channel.send_bytes(answer, self._signatures)
            self._signatures = None
        return True

    @property
    def _keys(self) -> GuardedKeys:
        if self._guard is None:
            raise TokenFault("the worker is not logged in", ckr="CKR_USER_NOT_LOGGED_IN", reaction=Reaction.RELOGIN)
        return self._guard

    def _open(self, record: Record) -> Json:
        path, uri = record.text("module"), TokenUri.parse(record.text("token"))
        record.done()
        self._token = cryptoki.open_token(path, uri)
        return messages.write_token(self._token.info)

    def _login(self, record: Record) -> Json:
        record.done()
        pin = self._channel.receive_secret()
        if self._token is None:
            raise TokenFault("the worker has no token open", reaction=Reaction.REINITIALISE)
        self._token.login(pin)
        self._guard = GuardedKeys(self._token, lambda: int(time.time()))
        return None

    def _inventory(self, record: Record) -> Json:
        record.done()
        return messages.write_inventory(self._keys.inventory())

    def _generate(self, record: Record) -> Json:
        order = KeyOrder(messages.binary(record.value("key_id")), _charter(record))
        record.done()
        return self._keys.generate(order).jwk()

    def _admit(self, record: Record) -> Json:
        key_id, charter = messages.binary(record.value("key_id")), _charter(record)
        public, memory = PublicKey.from_jwk(record.value("public")), messages.read_memory(record.record("memory"))
        until = record.time("until") if record.has("until") else None
        record.done()
        self._keys.admit(key_id, charter, public, memory, until)
        return None

    def _sign(self, record: Record) -> Json:
        key_id = messages.binary(record.value("key_id"))
        record.done()
        inputs = self._channel.receive_bytes()
        if len(inputs) > MAX_INPUTS:
            raise Malformed(f"{len(inputs)} inputs where at most {MAX_INPUTS} are signed")
        errors, self._signatures = messages.write_answers(self._keys.sign(key_id, inputs))
        return errors

    def _kept(self, record: Record) -> Json:
        key_id = messages.binary(record.value("key_id"))
        record.done()
        return messages.write_head(self._keys.kept(key_id))

    def _keep(self, record: Record) -> Json:
        key_id, text = messages.binary(record.value("key_id")), messages.binary(record.value("checkpoint"))
        proof = [messages.binary(item) for item in record.array("proof", most=MAX_PROOF)]
        record.done()
        return self._keys.keep(key_id, text, proof)

    def _destroy(self, record: Record) -> Json:
        key_id = messages.binary(record.value("key_id"))
        record.done()
        self._keys.destroy(key_id)
        return None

    def _holds(self, record: Record) -> Json:
        key_id = messages.binary(record.value("key_id"))
        record.done()
        return self._keys.holds(key_id)

    def _tokens(self, record: Record) -> Json:
        path = record.text("module")
        record.done()
        return messages.write_slots(slots.tokens(path))

    def _initialise(self, record: Record) -> Json:
        path, label = record.text("module"), record.text("label")
        record.done()
        so_pin, pin = self._channel.receive_secret(), self._channel.receive_secret()
        return messages.write_token(slots.initialise_token(path, label, so_pin, pin))


def _charter(record: Record) -> KeyCharter:
    try:
        return charters.parse(record.value("charter"))
    except Malformed as error:
        raise CharterRefused(str(error)) from error


def lock_down() -> None:
    """Leave no core, let no process of the same user read this one's memory, gain no privilege; `Unguarded`."""
    memory.guard()
    memory.gain_nothing()
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _end_with(channel: Channel, finished: threading.Event) -> None:
    """End the process when the engine is gone, even if the module hangs in a call."""
    poll = select.poll()
    poll.register(channel.fileno(), _POLL_GONE)
    poll.poll()
    if not finished.wait(_GRACE):
        os._exit(EXIT_ORPHANED)


def main(arguments: list[str]) -> int:
    """Serve on the inherited descriptor named by the one argument; gives the exit status."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        return EXIT_USAGE
    try:
        lock_down()
    except memory.Unguarded:
        return EXIT_UNLOCKED
    connection = socket.socket(fileno=int(arguments[0]))
    connection.set_inheritable(False)
    channel, finished = Channel(connection), threading.Event()
    threading.Thread(target=_end_with, args=(channel, finished), daemon=True).start()
    try:
        Worker(channel).serve()
    except ChannelClosed:
        return 0
    except (ChannelError, Malformed, ValueError):
        return EXIT_PROTOCOL
    finally:
        finished.set()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
