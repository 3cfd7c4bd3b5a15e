"""A small world with software keys: custodians, an appliance's keys, its bundles, a site, credentials.

Everything is valid unless a test asks otherwise, and built by the same code as the appliance's. The methods take what
a test wants to be different.

    world = World.make()
    store = TrustStore.open(world.site(tmp_path / "trust"))            # site init, then the first bundle applied
    verify(world.token(), store, audience=AUDIENCE, now=NOW)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import bundling
from appliance.bundling import Unsigned
from coldcred import framing, layout
from coldcred.bundle import apply, init
from coldcred.canonical import Json, b64u_encode, dumps, sha256_hex
from coldcred.charter import KeyCharter, StatusCharter, TokenCharter
from coldcred.credential import Credential, Kind, StatusReference, write_claims
from coldcred.documents import BundleTimes, Identity, TrustKey
from coldcred.founding import Site
from coldcred.jose import Typ, assemble
from coldcred.keys import Algorithm
from coldcred.log import consistency
from coldcred.log.note import Checkpoint, VerifierKey, sign_note
from coldcred.log.tree import Tree, leaf_hash
from coldcred.plan import Plan
from coldcred.status import StatusList, bits_with
from tests.support.signers import Signer

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
HOUR = 3600
DAY = 24 * HOUR
GRACE = 6 * HOUR

NAME = "plant-a"
DOMAIN = "plant-a.example"
ISSUER = "https://issuer.plant-a.example"
SITE = "site-0001"
AUDIENCE = "https://orders.plant-a.example"
OTHER_AUDIENCE = "https://billing.plant-a.example"
SUBJECT = "spiffe://plant-a.example/line/1/robot-7"
SVID_AUDIENCE = "spiffe://plant-a.example/service/orders"
STATUS_URI = f"{ISSUER}/status/{SITE}/1"
PROFILE = "orders-access"
ORIGIN = "plant-a.example/log/1"
APPLIANCE = sha256_hex(b"founding of plant-a")


def log(size: int, fork: int | None = None) -> Tree:
    """Return the tree of a log of `size` entries; one that is forked has other entries from number `fork` on."""
    made = Tree()
    for seq in range(size):
        made.append(leaf_hash(b"%d%s" % (seq, b"" if fork is None or seq < fork else b" otherwise")))
    return made


LOG = log(2048)


@dataclass(frozen=True)
class World:
    """One appliance and its custodians, of whom two of three must sign."""

    custodians: tuple[Signer, ...]
    bundle_key: Signer
    access_key: Signer
    svid_key: Signer
    status_key: Signer
    log_key: Signer
    threshold: int = 2
    now: int = NOW

    @classmethod
    def make(cls, now: int = NOW) -> "World":
        """Make a world in which everything begins at `now`; its keys and bytes are the same in every run."""
        return cls(
            now=now,
            custodians=tuple(Signer.named(f"world custodian {number}", Algorithm.ED25519) for number in (1, 2, 3)),
            bundle_key=Signer.named("world bundle"),
            access_key=Signer.named("world access"),
            svid_key=Signer.named("world svid"),
            status_key=Signer.named("world status"),
            log_key=Signer.named("world log", Algorithm.ED25519),
        )

    # -- what custodians sign

    def identity(self, **changes: Any) -> Identity:
        """Return who the appliance is."""
        vkey = VerifierKey(ORIGIN, self.log_key.public).format()
        return replace(Identity(APPLIANCE, NAME, DOMAIN, ISSUER, False, ORIGIN, vkey), **changes)

    def access_charter(self, **changes: Any) -> TokenCharter:
        """Return the charter of the key for access tokens: an hour of lifetime, a day of horizon."""
        charter = TokenCharter(
            algorithm=Algorithm.ES256,
            kind=Kind.ACCESS,
            issuer=ISSUER,
            subjects=(f"spiffe://{DOMAIN}/*",),
            audiences=(AUDIENCE, OTHER_AUDIENCE),
            lifetime=HOUR,
            horizon=DAY,
        )
        return replace(charter, **changes)

    def trust_key(self, key: Signer, charter: KeyCharter, **changes: Any) -> TrustKey:
        """Return a key as sites hold it, valid from a day before to thirty days after `now`."""
        return replace(TrustKey(key.public, charter, self.now - DAY, self.now + 30 * DAY), **changes)

    def trust_keys(self) -> tuple[TrustKey, ...]:
        """Return the keys that sites hold: for access tokens, for SVIDs and for status lists."""
        svid = self.access_charter(kind=Kind.SVID, audiences=(SVID_AUDIENCE,))
        status = StatusCharter(Algorithm.ES256, f"{ISSUER}/status/")
        return (
            self.trust_key(self.access_key, self.access_charter()),
            self.trust_key(self.svid_key, svid),
            self.trust_key(self.status_key, status),
        )

    def plan(self) -> Plan:
        """Return a plan of one window of a day around `now`."""
        return bundling.one_window(self.now - HOUR, self.now + DAY, self.trust_keys(), grace=GRACE)

    def trust_documents(self, **changes: Any) -> dict[str, bytes]:
        """Return the custodians' documents; `changes` replace arguments of `bundling.trust_documents`."""
        values: dict[str, Any] = {
            "identity": self.identity(),
            "keys": self.trust_keys(),
            "plan": self.plan(),
            "profiles": {PROFILE: False, "strict": True},
            "sites": (Site(SITE, (AUDIENCE, SVID_AUDIENCE)), Site("site-0002", (OTHER_AUDIENCE,))),
        }
        return bundling.trust_documents(**(values | changes))

    def unsigned_root(self, **changes: Any) -> Unsigned:
        """Return root metadata before it is signed."""
        values: dict[str, Any] = {
            "version": 1,
            "custodians": [key.public for key in self.custodians],
            "threshold": self.threshold,
            "bundle_key": self.bundle_key.public,
            "expires": self.now + 365 * DAY,
        }
        return bundling.root(**(values | changes))

    def root(self, **changes: Any) -> bytes:
        """Return root metadata signed by as many custodians as must; the same bytes each time for the same values."""
        return self.by_custodians(self.unsigned_root(**changes))

    def targets(self, documents: Mapping[str, bytes] | None = None, **changes: Any) -> bytes:
        """Return targets metadata over the custodians' documents."""
        values: dict[str, Any] = {
            "version": 1,
            "documents": self.trust_documents() if documents is None else documents,
            "bundle_key": self.bundle_key.public,
            "expires": self.now + 90 * DAY,
        }
        return self.by_custodians(bundling.targets(**(values | changes)))

    def by_custodians(self, unsigned: Unsigned, *keys: Signer) -> bytes:
        """Sign by these keys, or by as many custodians as must."""
        return signed(unsigned, *(keys or self.custodians[: self.threshold]))

    # -- what the appliance signs

    def status_list(self, revoked: Iterable[int] = (), *, key: Signer | None = None, **changes: Any) -> str:
        """Return the token of a status list in which the bits `revoked` are set."""
        made = StatusList(STATUS_URI, bits_with(frozenset(revoked)), self.now, self.now + DAY + GRACE, 3600)
        return self.jws(Typ.STATUS_LIST, replace(made, **changes).claims(), key or self.status_key)

    def checkpoint(self, size: int = 0, root: bytes | None = None, *, key: Signer | None = None) -> bytes:
        """Return a signed checkpoint of the log; the root of one beyond `LOG` is made up."""
        found = LOG.frontier(size).root() if size <= LOG.size else size.to_bytes(32)
        text = Checkpoint(ORIGIN, size, root or found).text()
        signer = key or self.log_key
        return sign_note(text, (VerifierKey(ORIGIN, signer.public), signer.sign(text)))

    def proofs(self, note: bytes, *sizes: int) -> bytes:
        """Return the proofs from these sizes of the log to a checkpoint's; none to one that is no checkpoint of it."""
        lines = note.split(b"\n")
        size = int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else 0
        return consistency.prove(LOG, sizes, size) if size <= LOG.size else consistency.write(())

    def times(self, sequence: int = 1, **changes: Any) -> BundleTimes:
        """Return the times of a bundle, each a minute later than the one before."""
        issued_at = self.now + 60 * (sequence - 1)
        made = bundling.bundle_times(APPLIANCE, SITE, sequence, issued_at=issued_at, end=self.now + DAY + GRACE)
        return replace(made, **changes)

    def site_documents(
        self, times: BundleTimes, *, revoked: Iterable[int] = (), taints: Iterable[str] = (), **changes: Any
    ) -> dict[str, bytes]:
        """Return the appliance's documents for a bundle; `changes` replace arguments of `appliance_documents`.

        Bundle n has a checkpoint over n entries, and proofs from those of the 64 bundles before it.
        """
        sequence = times.sequence
        values: dict[str, Any] = {
            "status_lists": [self.status_list(revoked)],
            "taints": taints,
            "checkpoint": self.checkpoint(sequence),
            "times": times,
        }
        note = changes.get("checkpoint", values["checkpoint"])
        values["proofs"] = self.proofs(note, *range(max(0, sequence - consistency.OF_BUNDLES), sequence))
        return bundling.appliance_documents(**(values | changes))

    def bundle(self, sequence: int = 1, **changes: Any) -> bytes:
        """Return a bundle for the site; see `files`."""
        return framing.write(framing.BUNDLE, self.files(sequence, **changes))

    def files(
        self,
        sequence: int = 1,
        *,
        roots: Iterable[bytes] | None = None,
        targets: bytes | None = None,
        trust: Mapping[str, bytes] | None = None,
        times: BundleTimes | None = None,
        expires: int | None = None,
        key: Signer | None = None,
        **site: Any,
    ) -> dict[str, bytes]:
        """Return a bundle's files by name. `site` goes to `site_documents`, `key` signs in the bundle key's place."""
        times = times or self.times(sequence)
        expires = times.end if expires is None else expires
        signer = key or self.bundle_key
        trust = self.trust_documents() if trust is None else trust
        ours = self.site_documents(times, **site)
        by_custodians = targets or self.targets(trust)
        role = signed(bundling.site(sequence=sequence, documents=ours, expires=expires), signer)
        snapshot = signed(
            bundling.snapshot(sequence=sequence, targets=by_custodians, site=role, expires=expires), signer
        )
        timestamp = signed(bundling.timestamp(sequence=sequence, snapshot=snapshot, expires=expires), signer)
        data = bundling.assemble(
            roots=[self.root()] if roots is None else list(roots),
            timestamp=timestamp,
            snapshot=snapshot,
            targets=by_custodians,
            site=role,
            documents={**trust, **ours},
        )
        return framing.read(data, framing.BUNDLE)

    # -- at the site

    def bare_site(self, path: Path, *, site: str = SITE) -> Path:
        """Make a trust store to which no bundle was applied yet."""
        root = self.root()
        init(path, root=root, fingerprint=sha256_hex(root), site=site, key=Ed25519PrivateKey.generate())
        return path

    def site(self, path: Path, bundle: bytes | None = None, *, now: float | None = None) -> Path:
        """Make a trust store and apply a bundle, by default the first."""
        self.bare_site(path)
        apply(self.bundle() if bundle is None else bundle, path, now=self.now if now is None else now)
        return path

    # -- credentials

    def credential(self, kind: Kind = Kind.ACCESS, **changes: Any) -> Credential:
        """Return what is to be issued: fifteen minutes from `now`, status index 7."""
        made = Credential(
            kind=kind,
            issuer=ISSUER,
            subject=SUBJECT,
            audiences=(AUDIENCE if kind is Kind.ACCESS else SVID_AUDIENCE,),
            scopes=("orders:read", "orders:write"),
            jti="AAECAwQFBgcICQoLDA0ODw",
            issued_at=self.now,
            not_before=self.now,
            expires_at=self.now + 900,
            status=StatusReference(STATUS_URI, 7),
            log_index=3,
            profile=PROFILE,
        )
        return replace(made, **changes)

    def token(self, kind: Kind = Kind.ACCESS, *, key: Signer | None = None, **changes: Any) -> str:
        """Return a credential's token; `changes` replace members of the credential."""
        signer = key or (self.access_key if kind is Kind.ACCESS else self.svid_key)
        return self.jws(kind.typ, write_claims(self.credential(kind, **changes)), signer)

    def jws(self, typ: Typ, claims: dict[str, Json], key: Signer) -> str:
        """Sign claims as they are, whether or not they make sense."""
        return key.token(typ, claims)

    def raw_token(self, header: bytes | dict[str, Json], payload: bytes, key: Signer | None = None) -> str:
        """Sign any header and any payload, for what no honest writer would write."""
        written = header if isinstance(header, bytes) else dumps(header)
        data = f"{b64u_encode(written)}.{b64u_encode(payload)}".encode("ascii")
        return assemble(data, (key or self.access_key).sign(data))

    def header(self, **changes: Json) -> dict[str, Json]:
        """Return the header of a good access token, with members replaced or added."""
        return {"alg": "ES256", "kid": self.access_key.kid, "typ": "at+jwt", **changes}

    def payload(self, **changes: Any) -> bytes:
        """Return the payload of a good access token; `changes` replace members of the credential."""
        return dumps(write_claims(self.credential(**changes)))


def signed(unsigned: Unsigned, *keys: Signer) -> bytes:
    """Sign a role's metadata with these keys."""
    return unsigned.signed(*((key.public, key.sign(unsigned.signing_input)) for key in keys))


def rewritten(files: Mapping[str, bytes], **bodies: bytes) -> bytes:
    """Return a bundle of the files with some replaced, by attribute name of `coldcred.layout` (TIMES=..., JWKS=...)."""
    return framing.write(framing.BUNDLE, {**files, **{getattr(layout, name): body for name, body in bodies.items()}})
