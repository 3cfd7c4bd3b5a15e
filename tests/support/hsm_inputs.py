"""Per purpose, a charter and signing inputs within it, for tests of whatever holds keys."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from appliance import bundling
from coldcred.acts import Act
from coldcred.canonical import b64u_encode
from coldcred.charter import (
    BUNDLE_ROLES,
    BundleCharter,
    KeyCharter,
    LogCharter,
    OperatorCharter,
    Purpose,
    StatusCharter,
)
from coldcred.command import command_claims
from coldcred.credential import write_claims
from coldcred.errors import Malformed
from coldcred.jose import Typ, signing_input
from coldcred.keys import Algorithm, PublicKey
from coldcred.log.note import Checkpoint
from coldcred.log.tree import consistency_proof, leaf_hash, root_of
from coldcred.status import StatusList, bits_with
from hsm.errors import CharterRefused, HsmError
from hsm.guard import GuardedKeys
from hsm.keystore import KeyOrder, KeyStore
from tests.support import world
from tests.support.world import World

WORLD = World.make()
LEAVES = tuple(leaf_hash(b"entry %d" % number) for number in range(1024))
UNTIL = world.NOW + 60 * world.DAY


@dataclass(frozen=True)
class Case:
    """One purpose: a charter, and `make(n, kid)`, the n-th input (from 1) that the key `kid` may sign."""

    charter: KeyCharter
    make: Callable[[int, str], bytes]

    def inputs(self, count: int, kid: str) -> list[bytes]:
        """Give the first `count` inputs."""
        return [self.make(number, kid) for number in range(1, count + 1)]


def token_input(number: int, kid: str, **changes: Any) -> bytes:
    """Give the signing input of an access token; `changes` replace members of the credential."""
    credential = WORLD.credential(**{"jti": f"jti-{number:016}", **changes})
    return signing_input(Typ.ACCESS, Algorithm.ES256, kid, write_claims(credential))


def status_input(number: int, kid: str, uri: str = world.STATUS_URI) -> bytes:
    """Give the signing input of a status list in which one bit is set."""
    made = StatusList(uri, bits_with({number}), world.NOW, world.NOW + world.DAY, 3600)
    return signing_input(Typ.STATUS_LIST, Algorithm.ES256, kid, made.claims())


def log_input(size: int, _kid: str = "", *, origin: str = world.ORIGIN, root: bytes | None = None) -> bytes:
    """Give the text of a checkpoint; the root follows from the size unless one is given."""
    return Checkpoint(origin, size, size.to_bytes(32) if root is None else root).text()


def tree_input(size: int, _kid: str = "") -> bytes:
    """Give the text of a checkpoint over the first `size` of `LEAVES`: each grows from every smaller one."""
    return log_input(size, root=root_of(LEAVES[:size]))


def keep(store: KeyStore | GuardedKeys, key_id: bytes, checkpoint: bytes) -> bool:
    """Have a checkpoint over `LEAVES` kept as the head, with the proof from the one that is kept."""
    kept = store.kept(key_id)
    size = Checkpoint.parse(checkpoint).size
    proof = () if kept is None or kept.size > size else consistency_proof(LEAVES[:size], kept.size)
    return store.keep(key_id, checkpoint, proof)


def sign(store: KeyStore | GuardedKeys, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
    """Sign each input, and have those that are checkpoints over `LEAVES` kept as the head before."""
    answers: list[bytes | HsmError] = []
    for data in inputs:
        with suppress(Malformed, CharterRefused):
            keep(store, key_id, data)
        answers += store.sign(key_id, [data])
    return answers


def site_input(number: int, _kid: str = "", *, expires: int = UNTIL) -> bytes:
    """Give the signed part of the role `site` of bundle `number`."""
    documents = WORLD.site_documents(WORLD.times(number))
    return bundling.site(sequence=number, documents=documents, expires=expires).signing_input


def command_input(number: int, kid: str, **changes: Any) -> bytes:
    """Give the signing input of a command, by an ES256 key; `changes` replace its claims."""
    claims = command_claims(
        appliance=world.APPLIANCE,
        epoch=1,
        act=Act.READ_OPEN,
        args={},
        jti=b64u_encode(number.to_bytes(16)),
        issued_at=world.NOW,
        expires_at=world.NOW + world.HOUR,
    )
    return signing_input(Typ.COMMAND, Algorithm.ES256, kid, claims | changes)


CASES: dict[Purpose, Case] = {
    Purpose.TOKENS: Case(WORLD.access_charter(), token_input),
    Purpose.STATUS: Case(StatusCharter(Algorithm.ES256, f"{world.ISSUER}/status/"), status_input),
    Purpose.LOG: Case(LogCharter(Algorithm.ED25519, world.ORIGIN), tree_input),
    Purpose.BUNDLE: Case(BundleCharter(Algorithm.ES256, BUNDLE_ROLES, UNTIL), site_input),
    Purpose.OPERATOR: Case(OperatorCharter(Algorithm.ES256), command_input),
}


def admitted(store: KeyStore, purpose: Purpose = Purpose.TOKENS, key_id: bytes = b"0123456789abcdef") -> PublicKey:
    """Make a key for a purpose in a store and admit it."""
    charter = CASES[purpose].charter
    public = store.generate(KeyOrder(key_id, charter))
    store.admit(key_id, charter, public)
    return public


def signatures(answers: Sequence[object]) -> list[bytes]:
    """Give the answers, which must all be signatures."""
    for answer in answers:
        assert isinstance(answer, bytes), answer
    return [answer for answer in answers if isinstance(answer, bytes)]
