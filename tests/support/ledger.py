"""What clients hold and what the token was asked, held to what the log says: the accounts of a fault campaign.

ledger.ask(transport, command)     send a command; a token that comes back is durably held before anything else
ledger.read(bodies)                take in what the log grew by; every link is checked
ledger.settle()                    hold everything to everything; an `AssertionError` names what does not fit
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.client import SocketTransport
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.command import document_id
from coldcred.credential import Kind, parse_claims
from coldcred.jose import parse_unverified
from coldcred.keys import PublicKey
from coldcred.log.chain import Head, verify_chain
from coldcred.record import Record
from tests.support.serving import Appliance

PAGE = 1000


@dataclass(frozen=True)
class Held:
    """A token that a client holds, and when it was asked for (monotonic seconds)."""

    token: str
    command: str
    began: float
    came: float


@dataclass
class Ledger:
    """The accounts of one appliance; `path` holds tokens as clients keep them, a line each, synced."""

    path: Path
    held: list[Held] = field(default_factory=list)
    sent: dict[str, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    refused: dict[str, Outcome] = field(default_factory=dict)
    head: Head = field(default_factory=Head)
    events: dict[int, dict[str, Json]] = field(default_factory=dict)
    outcomes: dict[int, str] = field(default_factory=dict)
    by_command: dict[str, int] = field(default_factory=dict)
    keys: dict[str, PublicKey] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _settled: int = 0

    def ask(self, transport: SocketTransport, command: str) -> Outcome:
        """Send a command that issues; raises what the transport raises, and remembers that no answer came."""
        name, began = document_id(parse_unverified(command)), time.monotonic()
        with self._lock:
            self.sent[name] = command
            self.unanswered.add(name)
        outcome = transport.command(command, {}, ())
        with self._lock:
            self.unanswered.discard(name)
            if outcome.state is State.REFUSED:
                self.refused[name] = outcome
            for body in outcome.files.values():
                self._hold(Held(body.decode("ascii"), name, began, time.monotonic()))
        return outcome

    def hold(self, token: str, command: str) -> None:
        """Hold a token that came in another way."""
        with self._lock:
            self.sent[document_id(parse_unverified(command))] = command
            self._hold(Held(token, document_id(parse_unverified(command)), 0, 0))

    def _hold(self, held: Held) -> None:
        with self.path.open("a") as file:
            file.write(f"{held.token}\n")
            file.flush()
            os.fsync(file.fileno())
        self.held.append(held)

    def read(self, bodies: Iterable[bytes]) -> None:
        """Take in the entries from `head` on; `LogRejected` when one does not follow."""
        for entry in verify_chain(bodies, self.head):
            self._take(entry.seq, entry.event)
            self.head = Head.of(entry)

    def read_over(self, transport: SocketTransport, appliance: Appliance) -> None:
        """Take in what a running appliance's log grew by."""
        transport.open_reading(appliance.command("carol", Act.READ_OPEN))
        while True:
            page = transport.read("entries", {"from": str(self.head.size), "limit": str(PAGE)})
            assert isinstance(page, list)
            if not page:
                return
            self.read(dumps(entry) for entry in page)

    def _take(self, seq: int, event: dict[str, Json]) -> None:
        self.events[seq] = event
        match event["type"]:
            case "key.done":
                key = PublicKey.from_jwk(event["public"])
                self.keys[key.thumbprint] = key
            case "outcomes":
                for member in ("signed", "failed", "unknown"):
                    for intent in _seqs(event[member]):
                        assert intent not in self.outcomes, f"entry {intent} has two outcomes"
                        self.outcomes[intent] = member
            case "started":
                left = [intent for intent in self.intents() if intent < seq and intent not in self.outcomes]
                assert not left, f"the start at entry {seq} left {left} open"
            case "credential.issued":
                name = str(event["command"])
                assert name not in self.by_command, f"command {name} was carried out twice"
                self.by_command[name] = seq
            case _:
                pass

    def intents(self) -> list[int]:
        """Give the entries that announce a signature."""
        return [seq for seq, event in self.events.items() if "signs" in event]

    def place(self, seq: int) -> int:
        """Give the status index of a credential."""
        result = Record.of(self.events[seq]["result"], "result")
        return result.record("status").integer("idx")

    def unknown(self) -> list[int]:
        """Give the credentials whose signature failed or may exist unseen."""
        return [
            seq
            for seq, what in self.outcomes.items()
            if what != "signed" and self.events[seq]["type"] == "credential.issued"
        ]

    def settle(self, notes: Path | None = None) -> None:
        """Hold each token that came since the last time to its entry, and each signature to its announcement."""
        inputs: dict[str, str] = {}
        for held in self.held:
            data = parse_unverified(held.token).signing_input
            assert inputs.setdefault(sha256_hex(data), held.token) == held.token, "one input was signed twice"
        for held in self.held[self._settled :]:
            self._settle_token(held)
        self._settled = len(self.held)
        if notes is not None:
            self._settle_notes(Counter(line.split()[0] for line in notes.read_text().splitlines()))

    def _settle_token(self, held: Held) -> None:
        jws = parse_unverified(held.token)
        credential = parse_claims(jws.payload, Kind.ACCESS)
        event = self.events.get(credential.log_index)
        assert event is not None, f"a client holds a token of entry {credential.log_index}, the log has none"
        result = event["result"]
        assert isinstance(result, dict)
        assert (event["type"], result["jti"]) == ("credential.issued", credential.jti)
        assert event["command"] == held.command
        assert event["signs"] == [{"kid": jws.header.kid, "sha256": sha256_hex(jws.signing_input)}]
        self.keys[jws.header.kid].verify(jws.signature, jws.signing_input)
        assert self.outcomes.get(credential.log_index, "signed") != "failed", "a failed signature was released"

    def _settle_notes(self, noted: Counter[str]) -> None:
        """Hold each C_Sign that the spy saw to an entry: announced, and asked for once."""
        announced = {digest for seq in self.intents() for digest in self.announced(seq)}
        for digest, times in noted.items():
            assert times == 1, f"{digest} was given to the token {times} times"
            assert digest in announced, f"{digest} was given to the token and no entry announces it"

    def announced(self, seq: int) -> Iterator[str]:
        """Give what the spy would note of an entry: the hash of what a mechanism takes, the whole input or a digest."""
        signs = self.events[seq]["signs"]
        assert isinstance(signs, list)
        for item in signs:
            assert isinstance(item, dict)
            digest = str(item["sha256"])
            yield digest
            yield sha256_hex(bytes.fromhex(digest))


def told(ledger: Ledger, command: str, outcome: Outcome) -> None:
    """See that a command which the log knows was answered from the record, without a token."""
    seq = ledger.by_command[command]
    assert outcome.files == {}, "a token was given a second time"
    if ledger.outcomes[seq] == "signed":
        assert (outcome.state, outcome.result) == (State.DONE, ledger.events[seq]["result"])
    else:
        assert (outcome.state, outcome.reason) == (State.REFUSED, "hsm-fault")


def _seqs(value: Json) -> list[int]:
    return [item for item in value if isinstance(item, int)] if isinstance(value, list) else []
