"""A real appliance to measure: founded in a temporary folder, on a SoftHSM token, ready to issue."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coldcred import framing
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import dumps, sha256_hex
from coldcred.trust import TrustStore
from hsm import tokens
from hsm.supervisor import WorkerKeyStore
from tests.support import plant
from tests.support.running import SITE
from tests.support.serving import Appliance, issue_args, make
from tests.support.softhsm import MODULE, PIN, SO_PIN, SoftHsm


@contextmanager
def appliance() -> Iterator[Appliance]:
    """Give an appliance of its own, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="coldcred-bench-") as folder:
        prepared = SoftHsm(Path(folder) / "prepared")
        prepared.configure()
        tokens.initialise_token(MODULE, prepared.label, bytearray(SO_PIN), bytearray(PIN), prepared.environment)
        yield make(Path(folder) / "appliance", prepared)


def store_of(mine: Appliance) -> WorkerKeyStore:
    """Give a key store on its token, for an engine in this process."""
    token = mine.softhsm
    return WorkerKeyStore(MODULE, token.uri, token.pin, environment=token.environment)


def batch(mine: Appliance, lines: int) -> tuple[str, dict[str, bytes]]:
    """Give the command for a batch of so many lines, and its file."""
    one = dumps(issue_args()) + b"\n"
    body = one * lines
    arguments = BatchArguments(Manifest.of(body)).as_json()
    return mine.command("alice", Act.CREDENTIAL_ISSUE, arguments), {sha256_hex(body): body}


def bundle_of(mine: Appliance) -> bytes:
    """Have the served appliance make a bundle for its site."""
    with mine.serve() as server:
        made = server.transport().command(mine.command("alice", Act.BUNDLE_CREATE, {"site": SITE}), {}, ())
    return made.files["bundle"]


def site_of(bundle: bytes) -> TrustStore:
    """Give what a site would read from the bundle."""
    return TrustStore.of_files(framing.read(bundle, framing.BUNDLE), generation=1)


AUDIENCE = plant.AUDIENCE
