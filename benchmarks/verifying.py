"""Verifying at a site, beside two other libraries doing the comparable job, and what starting costs."""

import tempfile
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey

from benchmarks import setting
from benchmarks.rows import Row, each, process_seconds, rate
from coldcred import bundle as sites
from coldcred.canonical import sha256_hex
from coldcred.jose import parse_unverified
from coldcred.trust import TrustStore
from coldcred.verification import verify
from tests.support.running import SITE

COUNT = 2_000

_BASE = "import cryptography.hazmat.primitives.asymmetric.ec"
_COLD = """
import sys, time
from coldcred import TrustStore, verify
with open(sys.argv[2]) as file:
    verify(file.read(), TrustStore.open(sys.argv[1]), audience=sys.argv[3], now=time.time())
"""


def measure(limits: dict[str, Row], store: TrustStore, root: bytes, bundle: bytes, token: str) -> list[Row]:
    """Measure verification of `token` with the trust in `store`; root and bundle make a site on the disk."""
    raw, now = limits["raw.verify"], time.time()
    ours = rate("verify", 1 / each(lambda: verify(token, store, audience=setting.AUDIENCE, now=now), COUNT), raw)
    key = store.keys[parse_unverified(token).header.kid].public
    jwk = ECKey.import_key({name: str(value) for name, value in key.jwk().items()})
    public = key.cryptography()
    issuer = store.identity.issuer
    required = ["exp", "iat", "nbf", "aud", "iss", "sub", "jti"]
    registry = joserfc_jwt.JWTClaimsRegistry(
        aud={"essential": True, "value": setting.AUDIENCE}, iss={"essential": True, "value": issuer}
    )

    def by_pyjwt() -> None:
        options = {"require": required}
        jwt.decode(token, public, algorithms=["ES256"], audience=setting.AUDIENCE, issuer=issuer, options=options)  # type: ignore[arg-type]  # its types name no such options

    def by_joserfc() -> None:
        registry.validate(joserfc_jwt.decode(token, jwk, algorithms=["ES256"]).claims)

    rows = [
        ours,
        rate("verify.pyjwt", 1 / each(by_pyjwt, COUNT), ours),
        rate("verify.joserfc", 1 / each(by_joserfc, COUNT), ours),
    ]
    return rows + _starting(root, bundle, token)


def _starting(root: bytes, bundle: bytes, token: str) -> list[Row]:
    """Give what an import costs over a bare interpreter, and a cold verification over the crypto library alone."""
    with tempfile.TemporaryDirectory(prefix="coldcred-bench-") as folder:
        trust, file = Path(folder) / "trust", Path(folder) / "token"
        file.write_text(token)
        key = Ed25519PrivateKey.generate()
        sites.init(str(trust), root=root, fingerprint=sha256_hex(root), site=SITE, key=key)
        sites.apply(bundle, str(trust), now=int(time.time()))
        bare, base = process_seconds("pass"), process_seconds(_BASE)
        imported = process_seconds("import coldcred")
        cold = process_seconds(_COLD, [str(trust), str(file), setting.AUDIENCE])
    return [
        Row("import", (imported - bare) * 1e3, "ms", "importing the crypto library", (imported - bare) / (base - bare)),
        Row("coldstart", (cold - base) * 1e3, "ms over importing the crypto library"),
    ]
