"""SPIFFE's own Python client takes the JWT-SVIDs that the appliance writes, and refuses a changed one.

The client runs in a process of its own: its generated protobuf names are not packaged.
"""

import json
import subprocess
import sys
import time

import pytest

from appliance.writers import jwt
from coldcred.credential import Kind
from coldcred.jose import assemble
from tests.support.signers import Signer
from tests.support.world import DOMAIN, SUBJECT, SVID_AUDIENCE, World

CLIENT = """
import sys
from spiffe import JwtBundle, JwtSvid, TrustDomain
domain, audience, bundle, token = sys.argv[1:]
found = JwtSvid.parse_and_validate(token, JwtBundle.parse(TrustDomain(domain), bundle.encode()), {audience})
print(found.spiffe_id)
"""


def read_by_spiffe(token: str, key: Signer, audience: str = SVID_AUDIENCE) -> subprocess.CompletedProcess[str]:
    """Let the client validate a token with a bundle that holds one key."""
    bundle = json.dumps({"keys": [{**key.public.jwk(), "kid": key.kid, "use": "jwt-svid"}]})
    command = [sys.executable, "-P", "-c", CLIENT, DOMAIN, audience, bundle, token]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def world() -> World:
    """Return a world of now: the client takes the machine's time."""
    return World.make(now=int(time.time()))


def written(world: World) -> str:
    """Give a JWT-SVID as the appliance writes it."""
    data = jwt.write(world.credential(Kind.SVID), world.svid_key.public)
    return assemble(data, world.svid_key.sign(data))


def test_spiffe_accepts_our_svid(world: World) -> None:
    """Signature, audience, expiry and subject are as it wants them."""
    ended = read_by_spiffe(written(world), world.svid_key)
    assert (ended.returncode, ended.stdout.strip()) == (0, SUBJECT), ended.stderr


@pytest.mark.parametrize("place", [0, 1, 2])
def test_spiffe_refuses_a_changed_svid(world: World, place: int) -> None:
    """One other character in any part, and it is refused: what accepts above is not blind."""
    parts = written(world).split(".")
    middle = len(parts[place]) // 2
    parts[place] = parts[place][:middle] + ("A" if parts[place][middle] != "A" else "B") + parts[place][middle + 1 :]
    assert read_by_spiffe(".".join(parts), world.svid_key).returncode != 0


def test_spiffe_refuses_another_key_and_another_audience(world: World) -> None:
    """Under the access key's bundle, or for somebody else, our SVID is worth nothing."""
    assert read_by_spiffe(written(world), world.access_key).returncode != 0
    assert read_by_spiffe(written(world), world.svid_key, "spiffe://plant-a.example/service/other").returncode != 0
