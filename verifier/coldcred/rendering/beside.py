"""What travels beside a command, each by its type: a batch, what is held of one, proofs of keys, a policy, trust.

Bytes of no known type are `Malformed`: what cannot be shown is not signed for.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from coldcred.acts import Act
from coldcred.asked import Asked
from coldcred.batch import BatchArguments, is_batch, lines_of, read_held, read_items
from coldcred.canonical import Json, loads
from coldcred.countersignature import parse_countersignature
from coldcred.enrolment import parse_enrolment
from coldcred.errors import Malformed
from coldcred.record import Record
from coldcred.rendering import frame, members
from coldcred.rendering.words import counted, moment, span

_MAX_TRUST = 1024 * 1024
_TRUST_FILE = re.compile(r"(?:metadata|targets/trust)/[a-z0-9][a-z0-9.]*\.json", re.ASCII)
_TEXT = re.compile(rb"[\t\n\x20-\x7e]*")


Items: TypeAlias = tuple[Asked | str, ...]


def lines(
    act: Act, args: dict[str, Json], attachments: Mapping[str, bytes], items: Items | None = None
) -> Iterator[str]:
    """Show all that a command's arguments name by a SHA-256; `Malformed` where it is missing or of no known type.

    `items` are the lines of its batch where they were read already.
    """
    match act:
        case Act.CREDENTIAL_ISSUE if is_batch(args):
            batch = BatchArguments.read(Record(args, act))
            body = _body(attachments, batch.items.sha256)
            yield from _batch(batch.items.sha256, body, read_items(body) if items is None else items)
            if batch.held is not None:
                yield from _held(batch.held.sha256, _body(attachments, batch.held.sha256))
        case Act.WORKLOAD_ENROL if "enrolment" in args:
            yield from _beside(args["enrolment"], attachments, _enrolment)
        case Act.OPERATOR_ADD | Act.OPERATOR_REPLACE_KEY | Act.OPERATOR_RECOVER if "countersignature" in args:
            yield from _beside(args["countersignature"], attachments, _countersignature)
        case Act.POLICY_SET:
            yield from _beside(args.get("policy"), attachments, _policy)
        case Act.TRUST_SUBMIT:
            named = args.get("files")
            for name, digest in sorted(named.items()) if isinstance(named, dict) else ():
                if not _TRUST_FILE.fullmatch(name):
                    raise Malformed(f"trust.submit names a file that no site knows: {name[:64]!a}")
                yield from _beside(digest, attachments, partial(_trust, name))
        case _:
            return


def _beside(
    digest: Json, attachments: Mapping[str, bytes], show: Callable[[bytes], tuple[str, Iterable[str]]]
) -> Iterator[str]:
    body = _body(attachments, digest)
    what, shown = show(body)
    yield from _heading(what, str(digest), len(body))
    yield from shown


def _body(attachments: Mapping[str, bytes], digest: Json) -> bytes:
    body = attachments.get(digest) if isinstance(digest, str) else None
    if body is None:
        raise Malformed("something that the command names does not travel beside it, and approving covers it")
    return body


def _heading(what: str, digest: str, size: int) -> tuple[str, ...]:
    return "", frame.said(f"beside it: {what}"), frame.said(f"its SHA-256 {digest}"), frame.said(f"its bytes {size}")


def _batch(digest: str, body: bytes, items: Items) -> Iterator[str]:
    asked = [item for item in items if isinstance(item, Asked)]
    unread = len(items) - len(asked)
    yield from _heading(f"a batch of {counted(len(items), 'line')}", digest, len(body))
    yield frame.said(f"{counted(len(asked), 'line')} of it can be read and ask for a credential each")
    yield frame.said(f"{counted(unread, 'line')} of it cannot be read; nothing is issued for those")
    yield from _total("profile", (item.profile for item in asked))
    yield from _total("scope", (scope for item in asked for scope in item.scopes or ("(none)",)))
    yield from _total("audience", (item.audience for item in asked))
    yield from _total("lifetime", (_lifetime(item) for item in asked))
    yield from _total("workload", (item.workload for item in asked))
    yield frame.said("every line of it, by its number")
    for number, (line, item) in enumerate(zip(lines_of(body), items, strict=True), start=1):
        yield frame.content(f"{number} {_item(line, item)}")


def _total(what: str, values: Iterable[str]) -> Iterator[str]:
    found = Counter(values)
    yield frame.said(f"credentials by {what}")
    for value, number in sorted(found.items(), key=lambda one: (-one[1], one[0])):
        yield frame.content(f"{number} {value}")


def _lifetime(item: Asked) -> str:
    return "the longest of its profile" if item.lifetime is None else f"{item.lifetime} ({span(item.lifetime)})"


def _item(line: bytes, item: Asked | str) -> str:
    if isinstance(item, str):
        return f"cannot be read: {frame.quoted(line.decode('utf-8', 'surrogateescape'))}"
    words = [f"profile {item.profile}", f"workload {item.workload}", f"audience {item.audience}"]
    words += [f"scopes {' '.join(item.scopes)}" if item.scopes else "no scope", f"lifetime {_lifetime(item)}"]
    notes = (("purpose", item.purpose), ("task", item.task))
    return ", ".join([*words, *(f"{name} {frame.quoted(text)}" for name, text in notes if text is not None)])


def _held(digest: str, body: bytes) -> Iterator[str]:
    held = read_held(body)
    yield from _heading(f"what its sender holds of earlier sittings, {counted(len(held), 'line')}", digest, len(body))
    for number, jti in held.items():
        yield frame.content(f"{number} {jti}")


def _enrolment(body: bytes) -> tuple[str, Iterable[str]]:
    found = parse_enrolment(_ascii(body))
    seal = f"sealing key {found.seal.thumbprint} (X25519)" if found.seal else "no sealing key"
    return "an enrolment, signed by the key that it brings", (
        frame.content(f"machine {found.workload}"),
        *_key(found.key.thumbprint, found.key.algorithm),
        frame.content(seal),
        *_proof(found.appliance, found.issued_at, found.expires_at, found.jti),
    )


def _countersignature(body: bytes) -> tuple[str, Iterable[str]]:
    found = parse_countersignature(_ascii(body))
    return "a countersignature, signed by the key that it brings", (
        frame.content(f"person {found.person}"),
        *_key(found.key.thumbprint, found.key.algorithm),
        *_proof(found.appliance, found.issued_at, found.expires_at, found.jti),
    )


def _key(thumbprint: str, algorithm: str) -> tuple[str, ...]:
    return (
        frame.content(f"key {thumbprint} ({algorithm})"),
        frame.said("compare the key with what its holder reads to you; a name proves nothing"),
    )


def _proof(appliance: str, issued_at: int, expires_at: int, jti: str) -> tuple[str, ...]:
    return (
        frame.content(f"for appliance {appliance}"),
        frame.content(f"signed {moment(issued_at)}"),
        frame.content(f"ends {moment(expires_at)}, {span(expires_at - issued_at)} after it was signed"),
        frame.content(f"jti {jti}"),
    )


def _policy(body: bytes) -> tuple[str, Iterable[str]]:
    if not _TEXT.fullmatch(body):
        raise Malformed("the policy that travels beside it is not printable ASCII")
    text = body.decode("ascii").split("\n")
    if text[-1] == "":
        text.pop()
    shown = (frame.given(f"{number} {line}") for number, line in enumerate(text, start=1))
    return f"the text of a policy, {counted(len(text), 'line')}", shown


def _trust(name: str, body: bytes) -> tuple[str, Iterable[str]]:
    return f"{name}, signed by custodians", members.lines(loads(body, max_bytes=_MAX_TRUST))


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("what travels beside it is no signed document") from error
