"""Custodians' hands that sign whatever lies before them: what is well signed and wrong reaches the appliance."""

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import custodians
from appliance.bundling import Unsigned
from appliance.identity import Identity
from coldcred import layout
from coldcred.canonical import Json, b64u_encode, dumps, loads
from coldcred.founding import Founding
from coldcred.keys import Algorithm
from coldcred.record import Record
from tests.support.signers import Signer


def hand(name: str) -> Identity:
    """Give the opened Ed25519 key of this name, such as `bob custodian`."""
    signer = Signer.named(name, Algorithm.ED25519)
    assert isinstance(signer.private, Ed25519PrivateKey)
    return Identity(signer.public, signer.private)


def blindly(identity: Identity, files: Mapping[str, bytes], names: Sequence[str] = ()) -> bytes:
    """Give a signature file over what is not signed yet, or over the files named, without looking at any."""
    unsigned = names or [
        name
        for name in (*layout.ROOTS, layout.TARGETS)
        if name in files and not Record.of(loads(files[name], max_bytes=layout.LIMITS[name]), name).array("signatures")
    ]
    signatures: dict[str, Json] = {}
    for name in unsigned:
        role = "targets" if name == layout.TARGETS else "root"
        signatures[name] = b64u_encode(identity.sign(Unsigned.read(role, files[name]).signing_input))
    key: Json = identity.public.jwk()
    return dumps({"v": 1, "kind": "coldcred-trust-signature", "key": key, "signatures": signatures})


def signed(founding: Founding, files: Mapping[str, bytes], *people: str) -> dict[str, bytes]:
    """Give files as these people's custodian keys signed them, by alice and bob unless told."""
    by = {person: blindly(hand(f"{person} custodian"), files) for person in people or ("alice", "bob")}
    return {**custodians.assemble(founding, files, by).files}
