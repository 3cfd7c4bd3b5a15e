"""What happens between opening a home and serving (rules R14, R31).

The verified log is folded, what a crash left open is closed, and the HSM is held to what the log says of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from appliance.authority import Authority, SigningKey
from appliance.decision import Event
from appliance.errors import HomeError, HomeFault, Refused
from appliance.home import Home
from appliance.log import Log
from appliance.nouns import checkpoints, keys
from appliance.standing import Standing
from coldcred import charter
from coldcred.bundle.targets import VERSIONS_EACH
from coldcred.canonical import Json, b64u_encode
from coldcred.charter import BundleCharter, LogCharter, Purpose
from coldcred.errors import ColdcredError
from coldcred.keys import PublicKey
from coldcred.log.entry import Entry
from coldcred.log.note import Checkpoint, open_checkpoint
from hsm.errors import KeyAmbiguous, KeyExists, KeyMismatch, KeyMissing, PinDelayed
from hsm.keystore import CharterMemory, Inventory, KeyOrder, KeyStore, StoredKey

_RUN_BYTES = 16


class Recovery:
    """One start of an appliance, before its loop runs; each step is committed before the next begins."""

    def __init__(self, home: Home, log: Log, now: Callable[[], int]) -> None:
        """Work on a log that is open and locked; `now` gives guarded Unix seconds."""
        self._home = home
        self._log = log
        self._now = now
        self._newest_checkpoint: Checkpoint | None = None
        self.standing = Standing(Authority.founded(home.founding), log)

    def fold(self) -> None:
        """Fold the whole log, verified link by link, and hold it to the checkpoints that were kept."""
        if altered := self._log.altered_tables():
            detail = f"reading table {altered[0]} is not as it was made; `coldcredctl log rebuild` makes it anew"
            raise HomeError(HomeFault.LOG_DAMAGED, detail)
        roots = dict(self._log.checkpoints())
        found: dict[int, bytes] = {}
        for entry in self._log.load():
            if entry.seq in roots:
                found[entry.seq] = self.standing.frontier.root()
            if entry.seq == 0:
                self._check_founded(entry)
            self._take(entry)
        if self.standing.head.size == 0:
            raise HomeError(HomeFault.LOG_DAMAGED, "the log is empty; a home begins with its founding entry")
        found[self.standing.head.size] = self.standing.frontier.root()
        self._check_checkpoints(roots, found)
        _ = self.standing.policies  # a start without the policy in force would decide nothing later on

    def _take(self, entry: Entry) -> None:
        try:
            self.standing.take(entry)
        except (ColdcredError, LookupError, ValueError) as error:
            # Linked and intact, but not an entry that this program writes: one of another version, or a forged one.
            detail = f"entry {entry.seq} ({entry.type[:32]!a}) cannot be read: {error}"
            raise HomeError(HomeFault.LOG_DAMAGED, detail) from error

    def _check_founded(self, entry: Entry) -> None:
        if entry.event != {**entry.event, "type": "founded", "founding": self._home.founding.appliance_id}:
            raise HomeError(HomeFault.LOG_DAMAGED, "the first entry does not found the appliance of this home")

    def _check_checkpoints(self, notes: Mapping[int, bytes], found: Mapping[int, bytes]) -> None:
        """Hold every kept checkpoint to the log: a log that was cut short or rewritten cannot match them."""
        for size, note in notes.items():
            try:
                checkpoint = open_checkpoint(note, checkpoints.verifier_key(self.standing.authority))
            except (ColdcredError, Refused) as error:
                raise HomeError(HomeFault.LOG_DAMAGED, f"the checkpoint of size {size}: {error}") from error
            if checkpoint.size != size or found.get(size) != checkpoint.root:
                detail = f"a signed checkpoint says {size} entries with another root than the log has"
                raise HomeError(HomeFault.LOG_DAMAGED, detail)
            self._newest_checkpoint = checkpoint

    def check_pins(self, tokens: Iterable[str]) -> None:
        """Refuse a start that would try a PIN of one of `tokens` too soon after others were refused (`PinDelayed`).

        Each token has its own count; one that stays closed keeps nobody from opening another. Writes nothing.
        """
        now = self._now()
        for label in tokens:
            refused = self.standing.lookups.refused_pins.get(label)
            if refused is not None and (left := refused.seconds_left(now)):
                raise PinDelayed(f"token {label} refused {refused.count} PINs in a row; the next is tried in {left} s")

    def record(self, events: Iterable[Event]) -> None:
        """Record system events, each durable when this returns."""
        for event in events:
            self._commit(event)

    def settle(self) -> None:
        """Close intents that no outcome followed: their signatures may exist, so their status bits are set (R31)."""
        unknown: list[Json] = [*sorted(self.standing.lookups.open_intents)]
        if unknown:
            self._commit({"type": "outcomes", "signed": [], "failed": [], "unknown": unknown})

    def begin(self, version: str, random: Callable[[int], bytes]) -> None:
        """Record the start; what it draws makes two copies of a home two logs, though they start at once (R33)."""
        self._commit({"type": "started", "version": version, "run": b64u_encode(random(_RUN_BYTES))})

    def reconcile(self, keystores: Mapping[str, KeyStore], random: Callable[[int], bytes]) -> None:
        """Look at every token, order the founding's keys, finish what was ordered.

        A token whose content is not what we left is refused before anything is ordered or made: it may be another
        appliance's. Raises `HsmError` or `HomeError` (hsm-content, home-behind-token).
        """
        for label, keystore in keystores.items():
            inventory = keystore.inventory()
            for key in self._on(label):
                if key.public is not None:
                    _check_stored(inventory, key)
            # Of a generation that was cut short half a pair may stand there, which is made anew below.
            halves = any(key.public is None for key in self._on(label))
            self._check_foreign(label, replace(inventory, foreign=()) if halves else inventory)
        for plan in self._home.founding.keys:
            if plan.name not in self.standing.authority.keys:
                key_id = random(keys.KEY_ID_BYTES).hex()
                self._commit(keys.ordered(self.standing.authority, plan.name, key_id))
        for label, keystore in keystores.items():
            inventory = keystore.inventory()
            for key in self._on(label):
                if key.public is None:
                    self._make(keystore, inventory, key)
            self._check_foreign(label, keystore.inventory())
            for key in self._on(label):
                if key.public is not None:
                    memory, until = self._memory(key), key.not_after
                    keystore.admit(bytes.fromhex(key.key_id), key.charter, key.public, memory, until)
                if isinstance(key.charter, LogCharter):
                    self._keep_head(keystore, key, key.charter)

    def _keep_head(self, keystore: KeyStore, key: SigningKey, charter: LogCharter) -> None:
        """Have the token keep the log's head as it is at this start: no other copy of this home starts after it."""
        key_id, size = bytes.fromhex(key.key_id), self.standing.head.size
        kept = keystore.kept(key_id)
        proof = self._log.growth(kept.size, kept.root, size) if kept is not None else ()
        text = Checkpoint(charter.origin, size, self.standing.frontier.root()).text()
        self.standing.head_in_token = keystore.keep(key_id, text, proof)

    def _memory(self, key: SigningKey) -> CharterMemory:
        """Give what the log says a key has signed, so that a new worker lets it sign nothing older."""
        if key.charter.purpose is Purpose.LOG and self._newest_checkpoint is not None:
            checkpoint = self._newest_checkpoint
            return CharterMemory(log_size=checkpoint.size, log_root=checkpoint.root)
        newest = max(self.standing.authority.bundles.values(), default=0)
        if isinstance(key.charter, BundleCharter) and newest:
            return CharterMemory(versions=tuple((role, newest * VERSIONS_EACH) for role in key.charter.roles))
        return CharterMemory()

    def _on(self, label: str) -> tuple[SigningKey, ...]:
        return tuple(key for key in self.standing.authority.keys.values() if key.token == label)

    def _make(self, keystore: KeyStore, inventory: Inventory, key: SigningKey) -> None:
        """Finish an open order: adopt the object that answers to it, or make it (R14)."""
        key_id = bytes.fromhex(key.key_id)
        standing = [stored for stored in inventory.keys if stored.key_id == key_id]
        public = standing[0].public if len(standing) == 1 and _answers(standing[0], key) else None
        if public is None:
            public = _generate(keystore, KeyOrder(key_id, key.charter))
        if public.thumbprint in self.standing.authority.registers:
            raise KeyMismatch(f"the key made for {key.name} stands in another register already")
        self._commit(keys.done(self.standing.authority, key.name, public, self._now()))

    def _check_foreign(self, label: str, inventory: Inventory) -> None:
        """Refuse a start on an exclusive token that holds an object no entry ordered."""
        exclusive = {token.label: token.exclusive for token in self._home.founding.tokens}
        known = {bytes.fromhex(key.key_id) for key in self._on(label)}
        strange = [f"key {stored.label}" for stored in inventory.keys if stored.key_id not in known]
        strange += [f"a head of key {key_id.hex()}" for key_id in inventory.heads if key_id not in known]
        strange += inventory.foreign
        if exclusive.get(label) and strange:
            raise HomeError(HomeFault.HSM_CONTENT, f"token {label} holds what no entry ordered: {', '.join(strange)}")

    def _commit(self, event: Event) -> None:
        entry = self.standing.stage(event, self._now())
        self._log.append([entry], {})


def _answers(stored: StoredKey, key: SigningKey) -> bool:
    return not stored.faults and stored.label == charter.label(key.charter)


def _generate(keystore: KeyStore, order: KeyOrder) -> PublicKey:
    """Make an ordered key in place of what a generation that was cut short may have left of it."""
    try:
        return keystore.generate(order)
    except KeyExists:
        keystore.destroy(order.key_id)
        return keystore.generate(order)


def _check_stored(inventory: Inventory, key: SigningKey) -> None:
    """Hold a key in the token to what the log pinned: present once, same public half, same charter, not exposed."""
    found = [stored for stored in inventory.keys if stored.key_id == bytes.fromhex(key.key_id)]
    if not found:
        raise KeyMissing(f"no key of the token has the id of {key.name}")
    if len(found) > 1:
        raise KeyAmbiguous(f"{len(found)} keys of the token have the id of {key.name}; none is taken")
    if found[0].faults:
        raise found[0].unfit(f"key {key.name}")
    if found[0].public != key.public or found[0].label != charter.label(key.charter):
        raise KeyMismatch(f"the key with the id of {key.name} is not the one that the log pinned")
