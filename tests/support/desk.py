"""What lies before a custodian, honestly prepared or changed by whoever holds the appliance or carries the folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance import bundling, custodians
from appliance.custodians import Draft
from appliance.engine import Engine
from coldcred import layout
from coldcred.acts import Act
from coldcred.bundle.library import Metadata
from coldcred.charter import TokenCharter
from coldcred.documents import Identity as Appliance
from coldcred.documents import TrustKey, parse_jwks, write_jwks
from coldcred.founding import Founding
from coldcred.keys import Algorithm
from coldcred.log.note import VerifierKey
from coldcred.plan import Plan
from tests.support import plant
from tests.support.hands import hand
from tests.support.running import RunningPlant
from tests.support.signers import Signer

Files = dict[str, bytes]
YEAR = 365 * plant.DAY


@dataclass(frozen=True)
class Desk:
    """What lies before a custodian: an honest preparation, what was signed last, and the founding of their own."""

    founding: Founding
    files: Files
    last: Mapping[str, bytes] | None
    now: int
    bundle: Any

    def lines(self, files: Files, last: Mapping[str, bytes] | None = None, own: Files | None = None) -> tuple[str, ...]:
        """Give what is shown of these files."""
        return custodians.read(self.founding, files, self.now, last=last or self.last, own=own).lines

    def over(self, documents: Mapping[str, bytes], version: int | None = None, expires: int | None = None) -> Files:
        """Give the files with other documents, or other targets over them, listed as they must be."""
        found: Any = Metadata.from_bytes(self.files[layout.TARGETS]).signed
        all_of_them = {name: documents.get(name, self.files[name]) for name in layout.BY_CUSTODIANS}
        made = bundling.targets(
            version=found.version if version is None else version,
            documents=all_of_them,
            bundle_key=self.bundle,
            expires=int(found.expires.timestamp()) if expires is None else expires,
        )
        return {**self.files, **all_of_them, layout.TARGETS: made.document}

    def root(self, version: int = 1, **changes: Any) -> Files:
        """Give the files with another root of this version."""
        people = [person.custodian for person in self.founding.people]
        usual: dict[str, Any] = {
            "custodians": people,
            "threshold": 2,
            "bundle_key": self.bundle,
            "expires": self.now + self.founding.horizons.root,
        }
        made = bundling.root(version=version, **{**usual, **changes})
        return {**self.files, layout.ROOTS[version - 1]: made.document}


def desk_of(running: RunningPlant, draft: Draft) -> Desk:
    """Give what an honest appliance prepares now."""
    now = running.clock.now()
    files = custodians.prepare(running.founding, draft, now)
    return Desk(running.founding, files, draft.last or None, now, draft.bundle_key)


async def draft_of(running: RunningPlant, engine: Engine) -> Draft:
    """Read what the appliance says is to be signed."""
    reader = await engine.open_reading(running.command("alice", Act.READ_OPEN))
    return Draft.from_json(await reader.read("trust", {}))


def _keys(desk: Desk, change: Callable[[TrustKey], TrustKey]) -> Files:
    keys = parse_jwks(desk.files[layout.JWKS]).values()
    return desk.over({layout.JWKS: write_jwks(change(key) for key in keys)})


def plan(desk: Desk, **changes: Any) -> Files:
    """Give the files with another first window."""
    found = Plan.parse(desk.files[layout.PLAN])
    return desk.over({layout.PLAN: replace(found, windows=(replace(found.windows[0], **changes),)).write()})


def _identity(desk: Desk, **changes: Any) -> Files:
    found = Appliance.parse(desk.files[layout.IDENTITY])
    return desk.over({layout.IDENTITY: replace(found, **changes).write()})


def other_log_key(desk: Desk) -> Files:
    """Give the files with a log key of somebody else."""
    found = Appliance.parse(desk.files[layout.IDENTITY])
    mallory = Signer.named("mallory log", Algorithm.ED25519).public
    return _identity(desk, log_vkey=VerifierKey(found.log_origin, mallory).format())


def _second_key(desk: Desk) -> Files:
    keys = parse_jwks(desk.files[layout.JWKS])
    found = next(key for key in keys.values() if key.charter.purpose == "tokens")
    stranger = replace(found, public=Signer.named("mallory").public)
    return desk.over({layout.JWKS: write_jwks([*keys.values(), stranger])})


def _another_key(desk: Desk) -> Files:
    """Put a stranger's key in the place of the one that signs credentials."""
    keys = parse_jwks(desk.files[layout.JWKS])
    found = next(key for key in keys.values() if key.charter.purpose == "tokens")
    stranger = replace(found, public=Signer.named("mallory").public)
    others = [stranger if key is found else key for key in keys.values()]
    found_plan = Plan.parse(desk.files[layout.PLAN])
    kids = tuple(sorted(key.kid for key in others))
    windows = (replace(found_plan.windows[0], publish=kids, sign=kids),)
    return desk.over({layout.JWKS: write_jwks(others), layout.PLAN: replace(found_plan, windows=windows).write()})


def _ahead(desk: Desk) -> Files:
    files = desk.files
    for version in range(len([name for name in layout.ROOTS if name in files]) + 1, 9):
        files = {**files, layout.ROOTS[version - 1]: desk.root(version)[layout.ROOTS[version - 1]]}
    return files


def _jump_of_root(desk: Desk) -> Files:
    return {**desk.files, layout.ROOTS[1]: desk.root(3)[layout.ROOTS[2]]}


def _wider(desk: Desk) -> Files:
    def widen(key: TrustKey) -> TrustKey:
        if not isinstance(key.charter, TokenCharter):
            return key
        return replace(key, charter=replace(key.charter, subjects=("spiffe://plant-a.example/*",)))

    return _keys(desk, widen)


REFUSED: dict[str, tuple[str, Callable[[Desk], Files]]] = {
    "a stranger among the custodians": (
        "root 1",
        lambda desk: desk.root(custodians=[*(p.custodian for p in desk.founding.people), hand("mallory").public]),
    ),
    "a lower quorum": ("root 1", lambda desk: desk.root(threshold=1)),
    "another bundle key in the root": ("root 1", lambda desk: desk.root(bundle_key=Signer.named("mallory").public)),
    "a root of 99 years": ("root 1", lambda desk: desk.root(expires=desk.now + 99 * YEAR)),
    "a root that has ended": ("root 1", lambda desk: desk.root(expires=desk.now)),
    "roots made ahead": ("root 2", _ahead),
    "a root of another version than its name": ("root 2", _jump_of_root),
    "a version of targets + 999": ("targets", lambda desk: desk.over({}, version=1000)),
    "targets of 99 years": ("targets", lambda desk: desk.over({}, expires=desk.now + 99 * YEAR)),
    "targets that end a second too late": (
        "targets",
        lambda desk: desk.over({}, expires=desk.now + desk.founding.horizons.targets + 121),
    ),
    "targets that end a second before trust": (
        "targets",
        lambda desk: desk.over({}, expires=desk.now + plant.DAY + 6 * 3600 - 1),
    ),
    "another appliance": ("appliance", lambda desk: _identity(desk, appliance="0" * 64)),
    "another issuer": ("issuer", lambda desk: _identity(desk, issuer="https://mallory.example")),
    "another log": ("log origin", lambda desk: _identity(desk, log_origin="mallory.example/log")),
    "keys valid from 1970": ("key", lambda desk: _keys(desk, lambda key: replace(key, not_before=1))),
    "keys moved back to 1970": (
        "key",
        lambda desk: _keys(desk, lambda key: replace(key, not_before=1, expires_at=1 + 90 * plant.DAY)),
    ),
    "keys valid until 2125": (
        "key",
        lambda desk: _keys(desk, lambda key: replace(key, expires_at=desk.now + 99 * YEAR)),
    ),
    "keys a second longer": ("key", lambda desk: _keys(desk, lambda key: replace(key, expires_at=key.expires_at + 1))),
    "keys of tomorrow": (
        "key",
        lambda desk: _keys(
            desk,
            lambda key: replace(key, not_before=desk.now + 3600, expires_at=desk.now + 3600 + 90 * plant.DAY),
        ),
    ),
    "a wider charter": ("key", _wider),
    "a second key under a founded charter": ("key tokens-1", _second_key),
    "a window of 98 years": ("window 1", lambda desk: plan(desk, expires_at=desk.now + 98 * YEAR)),
    "a window a second longer": ("window 1", lambda desk: plan(desk, expires_at=desk.now + plant.DAY + 1)),
    "a window of tomorrow": (
        "window 1",
        lambda desk: plan(desk, not_before=desk.now + 3600, expires_at=desk.now + 3600 + plant.DAY),
    ),
    "a window of last week": (
        "window 1",
        lambda desk: plan(desk, not_before=desk.now - 7 * plant.DAY, expires_at=desk.now - 6 * plant.DAY),
    ),
    "a grace of a year": (
        "grace",
        lambda desk: desk.over({layout.PLAN: replace(Plan.parse(desk.files[layout.PLAN]), grace=YEAR).write()}),
    ),
}
"""What the founding fixes, each changed alone, with the member that the refusal begins with."""


AFTER: dict[str, tuple[str, Callable[[Desk], Files]]] = {
    "another log key": ("log key", other_log_key),
    "a stranger's key in a key's place": ("key", _another_key),
    "the same version again": ("targets", lambda desk: desk.over({}, version=1)),
    "a jump of one version": ("targets", lambda desk: desk.over({}, version=3)),
    "another first root": ("root 1", lambda desk: desk.root()),
}
"""What is fixed by what was signed last, each changed alone."""
