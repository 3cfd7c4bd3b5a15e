"""Equal means what is signed (R39): whatever somebody without a key changes in a bundle is refused or changes nothing.

Each changed bundle that a site takes is followed by the true one of its number and the two after it. All must be taken,
and the trust store must end as that of a site that never met the changed one, byte for byte.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from securesystemslib.formats import encode_canonical

from coldcred import framing, layout
from coldcred.bundle import apply, inspect
from coldcred.bundle.roles import tuf_key
from coldcred.bundle.targets import verify_bundle
from coldcred.canonical import sha256_hex
from coldcred.errors import BundleRefused
from coldcred.layout import Pins
from tests.support.folders import tree
from tests.support.forge import signature
from tests.support.signers import Signer
from tests.support.world import NOW, SITE, World, signed

Files = Mapping[str, bytes]

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SAMPLE = 150
AT = NOW + 3600


class Walk:
    """Sites at two points of a story of four bundles, of which the second brings a new root."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._folder = folder
        self._root = world.root()
        roots = [self._root, signed(world.unsigned_root(version=2), *world.custodians[:2])]
        self.bundles = [world.files(1), *(world.files(number, roots=roots) for number in (2, 3, 4, 5))]
        self._sites = [world.bare_site(folder / "bare"), folder / "first"]
        shutil.copytree(self._sites[0], self._sites[1], symlinks=True)
        self._apply(self._sites[1], self.bundles[0])
        self._held: list[dict[str, bytes] | None] = [None, dict(self.bundles[0])]
        self._ends = [self._go_on(place, None) for place in (0, 1)]

    def check(self, place: int, changed: Files) -> bool:
        """See that a change of the bundle at `place` is refused, or changes nothing; gives whether it was."""
        pins, held = Pins(SITE, sha256_hex(self._root)), self._held[place]
        try:
            data = framing.write(framing.BUNDLE, changed)
            verify_bundle(data, pins=pins, root=self._root, held=held, generation=place + 1, now=AT)
        except BundleRefused:
            return True
        assert self._go_on(place, changed) == self._ends[place]
        return False

    def _go_on(self, place: int, changed: Files | None) -> dict[str, object]:
        path = self._folder / "walk"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self._sites[place], path, symlinks=True)
        if changed is not None:
            assert self._apply(path, changed)
        assert self._apply(path, self.bundles[place]) == (changed is None)
        for files in self.bundles[place + 1 : place + 3]:
            assert self._apply(path, files)
        return {name: found for name, found in tree(path).items() if name != layout.SITE_KEY}

    def applied(self, place: int, files: Files) -> dict[str, object]:
        """Return what a site has once it applied a bundle at `place`."""
        path = self._folder / "applied"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self._sites[place], path, symlinks=True)
        assert self._apply(path, files)
        return dict(tree(path))

    @staticmethod
    def _apply(path: Path, files: Files) -> bool:
        return apply(framing.write(framing.BUNDLE, files), path, now=AT).changed


@pytest.fixture(scope="module")
def walk(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Return the story; what is durable is not the question here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield Walk(world, tmp_path_factory.mktemp("walk"))


# Changes of one envelope, each as anybody can make it


def compact(value: Any) -> bytes:
    """Return JSON as it is written here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def compact_unsorted(value: Any) -> bytes:
    """Return the same with its members in the order that they have."""
    return json.dumps(value, separators=(",", ":")).encode()


def first(value: Any) -> dict[str, Any]:
    """Return the first signature of a metadata file."""
    found: dict[str, Any] = value["signatures"][0]
    return found


def edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Return what changes a metadata file as JSON."""

    def change(data: bytes) -> bytes:
        value = json.loads(data)
        edit(value)
        return compact(value)

    return change


def other_s(value: dict[str, Any]) -> None:
    """Give the other of the two ECDSA signatures, (r, n-s)."""
    for row in value["signatures"]:
        if row["sig"].startswith("30"):
            r, s = decode_dss_signature(bytes.fromhex(row["sig"]))
            row["sig"] = encode_dss_signature(r, ORDER - s).hex()


def early_date(value: dict[str, Any]) -> None:
    """Write the date as python-tuf reads it too."""
    value["signed"]["expires"] = value["signed"]["expires"].replace("-0", "-").replace("T0", "T")


ENVELOPES: dict[str, Callable[[bytes], bytes]] = {
    "a blank behind": lambda data: data + b" ",
    "a newline behind": lambda data: data + b"\n",
    "indented": lambda data: json.dumps(json.loads(data), indent=1, sort_keys=True).encode(),
    "in another order": lambda data: compact_unsorted(dict(reversed(json.loads(data).items()))),
    "an escape": lambda data: data.replace(b"signatures", b"\\u0073ignatures", 1),
    "a member beside": edited(lambda value: value.update(courier="was here")),
    "a member in a signature": edited(lambda value: value["signatures"][0].update(x="y")),
    "a member inside": edited(lambda value: value["signed"].update(x=1)),
    "an unsigned member inside a role": edited(lambda value: value["signed"].get("roles", {}).update(x={})),
    "upper-case hex": edited(lambda value: first(value).update(sig=first(value)["sig"].upper())),
    "hex with blanks": edited(lambda value: first(value).update(sig=f" {first(value)['sig']}")),
    "a key id in capitals": edited(lambda value: first(value).update(keyid=first(value)["keyid"].upper())),
    "junk by an unknown key": edited(lambda value: value["signatures"].append({"keyid": "00" * 32, "sig": "00"})),
    "junk in front": edited(lambda value: value["signatures"].insert(0, {"keyid": "00" * 32, "sig": "00"})),
    "thirty more": edited(
        lambda value: value["signatures"].extend({"keyid": f"{place:064x}", "sig": "ab" * 500} for place in range(30))
    ),
    "signatures reversed": edited(lambda value: value["signatures"].reverse()),
    "a signature twice": edited(lambda value: value["signatures"].append(value["signatures"][0])),
    "a signature less": edited(lambda value: value["signatures"].pop()),
    "no signature": edited(lambda value: value["signatures"].clear()),
    "the other s": edited(other_s),
    "another date": edited(early_date),
    "another specification": edited(lambda value: value["signed"].update(spec_version="1.99.0")),
    "version true": edited(lambda value: value["signed"].update(version=True)),
    "twice": lambda data: data + data,
    "nothing": lambda _: b"",
}  # fmt: skip

METADATA = (layout.ROOTS[0], layout.ROOTS[1], *layout.ROLES)


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize("case", ENVELOPES)
@pytest.mark.parametrize("place", [0, 1])
def test_an_envelope_changed_by_anybody(walk: Walk, place: int, name: str, case: str) -> None:
    """Every change that leaves signatures good, in every role's file, at a new site and at one that follows."""
    files = walk.bundles[place]
    if name in files:
        walk.check(place, {**files, name: ENVELOPES[case](files[name])})


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize("case", ENVELOPES)
def test_inspect_takes_no_envelope_that_a_site_refuses(walk: Walk, name: str, case: str) -> None:
    """What `inspect` calls whole is taken by a site, the first root's envelope included."""
    changed = {**walk.bundles[1], name: ENVELOPES[case](walk.bundles[1][name])}
    if walk.check(1, changed):
        with pytest.raises(BundleRefused):
            inspect(framing.write(framing.BUNDLE, changed))


@pytest.mark.parametrize("name", METADATA)
def test_somebody_adds_an_honest_signature(walk: Walk, world: World, name: str) -> None:
    """A third custodian signs what two have signed: it is taken, and harms nothing later; a stranger's is left out."""
    files, strangers = walk.bundles[1], Signer.named("stranger", world.custodians[0].public.algorithm)
    for signer in (world.custodians[2], world.bundle_key, strangers):
        value = json.loads(files[name])
        data = (encode_canonical(value["signed"]) or "").encode()
        value["signatures"].append({"keyid": tuf_key(signer.public).keyid, "sig": signature(signer, data)})
        refused = walk.check(1, {**files, name: compact(value)})
        twice = signer is world.bundle_key and name == layout.TIMESTAMP
        assert refused == (twice or name not in (*layout.ROOTS[:2], layout.TIMESTAMP))


@pytest.mark.parametrize("case", ["the other s", "junk by an unknown key", "signatures reversed"])
def test_one_spelling_is_stored(walk: Walk, case: str) -> None:
    """Two spellings of the same signatures leave the same bytes in the trust store."""
    files = walk.bundles[1]
    changed = {name: ENVELOPES[case](files[name]) for name in (layout.TIMESTAMP, layout.ROOTS[1])}
    assert walk.applied(1, {**files, **changed}) == walk.applied(1, files)
    assert changed != {name: files[name] for name in changed}


# Changes of any byte


def changes(files: Files, choose: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield for each place of each file, in no order, one other byte there, or a byte left out or put in."""
    places = [(name, place) for name, body in files.items() for place in range(len(body))]
    choose.shuffle(places)
    for name, place in places:
        body = files[name]
        other = bytes([body[place] ^ choose.randrange(1, 256)])
        blank = choose.choice([b" ", b"\n", b"0", b"\0", b"A"])
        middle, rest = choose.choice([(other, place + 1), (b"", place + 1), (blank, place)])
        yield name, body[:place] + middle + body[rest:]


def change_bytes(walk: Walk, place: int, most: int | None) -> None:
    """Change a bundle byte by byte, `most` times or everywhere."""
    files, taken = walk.bundles[place], 0
    for count, (name, body) in enumerate(changes(files, random.Random(39))):
        if count == most:
            break
        taken += not walk.check(place, {**files, name: body})
    assert taken < 200  # in signatures of a pinned root, which nobody keeps


@pytest.mark.parametrize("place", [0, 1])
def test_some_bytes_changed(walk: Walk, place: int) -> None:
    """A byte changed, left out or put in, anywhere in any file, with the index mended."""
    change_bytes(walk, place, SAMPLE)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", [0, 1])
def test_every_byte_changed(walk: Walk, place: int) -> None:
    """The same at each place of each file."""
    change_bytes(walk, place, None)


def test_the_changes_are_not_all_refused(walk: Walk) -> None:
    """Some changes do leave a bundle good, so the walk behind them is walked."""
    files = walk.bundles[1]
    for name, case in (
        (layout.TIMESTAMP, "the other s"),
        (layout.TIMESTAMP, "junk by an unknown key"),
        (layout.ROOTS[1], "signatures reversed"),
    ):
        assert not walk.check(1, {**files, name: ENVELOPES[case](files[name])})
