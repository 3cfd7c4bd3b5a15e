"""The values of the seam as JSON, written on one side of the channel and read strictly on the other."""

from collections.abc import Sequence

from coldcred.canonical import Json, b64u_decode, b64u_encode
from coldcred.charter import BUNDLE_ROLES
from coldcred.errors import Malformed
from coldcred.keys import Algorithm, PublicKey
from coldcred.record import Record
from hsm.errors import CAUSES, HsmError, Reaction
from hsm.heads import KeptHead
from hsm.keystore import CharterMemory, Inventory, Slots, StoredKey, TokenInfo

_MAX_DETAIL = 2048


def binary(value: Json) -> bytes:
    """Read bytes, which may be none, from base64url."""
    if not isinstance(value, str):
        raise Malformed("bytes are a text of base64url")
    return b64u_decode(value)


def write_error(error: HsmError) -> dict[str, Json]:
    """Give an error as `{id, detail, ckr, reaction}`."""
    detail = error.detail[:_MAX_DETAIL] or error.id
    return {"id": error.id, "detail": detail, "ckr": error.ckr, "reaction": error.reaction.value}


def read_error(value: Json) -> HsmError:
    """Give the error that the other side met."""
    record = Record.of(value, "error")
    cause = CAUSES.get(record.text("id"))
    detail, ckr, reaction = record.text("detail"), record.value("ckr"), record.text("reaction")
    record.done()
    if cause is None or not (ckr is None or isinstance(ckr, str)) or reaction not in set(Reaction):
        raise Malformed("an error of no known cause")
    return cause(detail, ckr=ckr, reaction=Reaction(reaction))


def write_answers(answers: Sequence[bytes | HsmError]) -> tuple[Json, list[bytes]]:
    """Give the errors by their places, and all signatures in order."""
    errors: list[Json] = [
        {"at": place, "error": write_error(item)} for place, item in enumerate(answers) if isinstance(item, HsmError)
    ]
    return errors, [item for item in answers if isinstance(item, bytes)]


def read_answers(value: Json, signatures: Sequence[bytes], count: int) -> list[bytes | HsmError]:
    """Read exactly `count` answers."""
    if not isinstance(value, list) or len(value) + len(signatures) != count:
        raise Malformed(f"not {count} answers")
    errors: dict[int, HsmError] = {}
    for item in value:
        record = Record.of(item, "answer")
        errors[record.integer("at", most=count - 1)] = read_error(record.value("error"))
        record.done()
    if len(errors) != len(value):
        raise Malformed("two errors at one place")
    left = iter(signatures)
    return [errors[place] if place in errors else next(left) for place in range(count)]


def write_memory(memory: CharterMemory) -> dict[str, Json]:
    """Give what a key has signed so far."""
    root = None if memory.log_root is None else b64u_encode(memory.log_root)
    return {"log_size": memory.log_size, "log_root": root, "versions": dict(memory.versions)}


def read_memory(record: Record) -> CharterMemory:
    """Read what a key has signed so far."""
    size, root, versions = record.integer("log_size"), record.value("log_root"), record.record("versions")
    record.done()
    roles = tuple((role, versions.integer(role)) for role in BUNDLE_ROLES if versions.has(role))
    versions.done()
    return CharterMemory(size, None if root is None else binary(root), roles)


def write_head(head: KeptHead | None) -> Json:
    """Give a log's head, or null."""
    return None if head is None else {"size": head.size, "root": b64u_encode(head.root)}


def read_head(value: Json) -> KeptHead | None:
    """Read a log's head, or null."""
    if value is None:
        return None
    record = Record.of(value, "head")
    head = KeptHead(record.integer("size"), binary(record.value("root")))
    record.done()
    return head


def write_token(token: TokenInfo) -> dict[str, Json]:
    """Give what a token says of itself."""
    return {
        "label": token.label,
        "serial": token.serial,
        "manufacturer": token.manufacturer,
        "model": token.model,
    }


def read_token(record: Record) -> TokenInfo:
    """Read what a token says of itself; any of it may be empty."""
    names = ("label", "serial", "manufacturer", "model")
    label, serial, manufacturer, model = (_text(record.value(name)) for name in names)
    record.done()
    return TokenInfo(label, serial, manufacturer, model)


def write_slots(slots: Slots) -> dict[str, Json]:
    """Give what a module's slots hold."""
    return {"tokens": [write_token(token) for token in slots.tokens], "unread": list(slots.unread)}


def read_slots(value: Json) -> Slots:
    """Read what a module's slots hold."""
    record = Record.of(value, "slots")
    tokens = tuple(read_token(item) for item in record.records("tokens"))
    unread = tuple(_text(item) for item in record.array("unread"))
    record.done()
    return Slots(tokens, unread)


def write_inventory(inventory: Inventory) -> dict[str, Json]:
    """Give all that a token holds."""
    return {
        "token": write_token(inventory.token),
        "keys": [
            {
                "key_id": b64u_encode(key.key_id),
                "label": key.label,
                "algorithm": None if key.algorithm is None else key.algorithm.value,
                "public": None if key.public is None else key.public.jwk(),
                "faults": list(key.faults),
                "exposed": key.exposed,
            }
            for key in inventory.keys
        ],
        "foreign": list(inventory.foreign),
        "heads": [b64u_encode(key_id) for key_id in inventory.heads],
    }


def read_inventory(value: Json) -> Inventory:
    """Read all that a token holds."""
    record = Record.of(value, "inventory")
    token = read_token(record.record("token"))
    keys = tuple(_read_key(Record.of(item, "key")) for item in record.array("keys"))
    foreign = tuple(_text(item) for item in record.array("foreign"))
    heads = tuple(binary(item) for item in record.array("heads"))
    record.done()
    return Inventory(token, keys, foreign, heads)


def _read_key(record: Record) -> StoredKey:
    key_id, label = binary(record.value("key_id")), record.text("label")
    algorithm, public = record.value("algorithm"), record.value("public")
    faults, exposed = tuple(_text(item) for item in record.array("faults")), record.boolean("exposed")
    record.done()
    if not (algorithm is None or algorithm in set(Algorithm)):
        raise Malformed("an algorithm of no known name")
    return StoredKey(
        key_id,
        label,
        None if algorithm is None else Algorithm(_text(algorithm)),
        None if public is None else PublicKey.from_jwk(public),
        faults,
        exposed,
    )


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Malformed("not a text")
    return value
