"""Bundles that no honest appliance makes: each role's metadata changed at will and signed anew, and all that names it.

The roles are rebuilt in TUF's order, so a change in targets is followed by a snapshot and a timestamp that fit it; what
a test changes by hand stays as it is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.formats import encode_canonical

from coldcred import layout
from coldcred.bundle.roles import tuf_key
from coldcred.canonical import sha256_hex
from coldcred.keys import Algorithm
from tests.support.signers import Signer
from tests.support.world import World

Edit = Callable[[dict[str, Any]], None]
"""Changes the part of a metadata file that is signed."""

ROOT, TARGETS, SITE = layout.ROOTS[0], layout.TARGETS, layout.SITE_ROLE
SNAPSHOT, TIMESTAMP = layout.SNAPSHOT, layout.TIMESTAMP


def sign(signed: Mapping[str, Any], signers: Sequence[Signer]) -> bytes:
    """Give a metadata file of what is signed and these signatures, whatever it says."""
    data = (encode_canonical(dict(signed)) or "").encode()
    signatures = [{"keyid": tuf_key(signer.public).keyid, "sig": signature(signer, data)} for signer in signers]
    return json.dumps({"signatures": signatures, "signed": signed}, sort_keys=True, separators=(",", ":")).encode()


def signature(signer: Signer, data: bytes) -> str:
    """Give a signature in the form that TUF wants."""
    raw = signer.sign(data)
    if signer.public.algorithm is Algorithm.ED25519:
        return raw.hex()
    return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])).hex()


def reforge(data: bytes, edit: Edit, signers: Sequence[Signer]) -> bytes:
    """Change what is signed in one file and sign it anew."""
    signed = json.loads(data)["signed"]
    edit(signed)
    return sign(signed, signers)


def forged(
    world: World,
    sequence: int = 2,
    *,
    edits: Mapping[str, Edit] | None = None,
    signers: Mapping[str, Sequence[Signer]] | None = None,
    spoil: Mapping[str, Callable[[bytes], bytes]] | None = None,
    **files: Any,
) -> dict[str, bytes]:
    """Give a bundle's files with roles changed by `edits`, signed by `signers`, then spoilt by `spoil`, by file name.

    What is not named is as `World.files` makes it from `files`, with the names of later roles following earlier ones.
    """
    made = world.files(sequence, **files)
    offline, online = world.custodians[: world.threshold], (world.bundle_key,)
    usual = {ROOT: offline, TARGETS: offline, SITE: online, SNAPSHOT: online, TIMESTAMP: online}

    def follow(signed: dict[str, Any], *names: str) -> None:
        for name in names:
            body = made[name]
            meta = {"version": json.loads(body)["signed"]["version"], "length": len(body)}
            signed["meta"][name.rpartition("/")[2]] = {**meta, "hashes": {"sha256": sha256_hex(body)}}

    for name in (ROOT, TARGETS, SITE, SNAPSHOT, TIMESTAMP):
        signed = json.loads(made[name])["signed"]
        if name == SNAPSHOT:
            follow(signed, TARGETS, SITE)
        elif name == TIMESTAMP:
            follow(signed, SNAPSHOT)
        if edits and name in edits:
            edits[name](signed)
        made[name] = sign(signed, (signers or usual).get(name, usual[name]))
        if spoil and name in spoil:
            made[name] = spoil[name](made[name])
    return made


def list_file(signed: dict[str, Any], name: str, body: bytes) -> None:
    """Let a role list one more file."""
    signed["targets"][name.removeprefix("targets/")] = {"length": len(body), "hashes": {"sha256": sha256_hex(body)}}
