"""Which files a rotation bundle and a trust store hold: one closed list, each name with its most bytes.

    site.json root.json site.key site-key.json       made once, by `coldcred site init`
    generations/N/...  generations/N/manifest.json   a bundle's files, and the checkpoints of all before; never changed
    current -> generations/N                         swapped by rename
    evidence.json                                    where a log contradicted itself: both checkpoints

Every name that is opened or written comes from here; no path is ever built from foreign text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from coldcred import names
from coldcred.canonical import Json, dumps, loads_canonical, sha256_hex
from coldcred.errors import Malformed
from coldcred.record import Record

MAX_ROOTS = 256
MAX_STATUS_LISTS = 32
MAX_METADATA = 512 * 1024
MAX_SMALL = 64 * 1024
MAX_GENERATION = 32 * 1024 * 1024

ROOTS = tuple(f"metadata/{version}.root.json" for version in range(1, MAX_ROOTS + 1))
TIMESTAMP, SNAPSHOT, TARGETS, SITE_ROLE = (
    f"metadata/{role}.json" for role in ("timestamp", "snapshot", "targets", "site")
)
IDENTITY, JWKS, PLAN, PROFILES, SITES = (
    f"targets/trust/{name}.json" for name in ("identity", "jwks", "plan", "profiles", "sites")
)
STATUS_LISTS = tuple(f"targets/revocation/status-{number}.jwt" for number in range(1, MAX_STATUS_LISTS + 1))
TAINTS, CHECKPOINT, TIMES = "targets/revocation/taints.json", "targets/log/checkpoint", "targets/time/bundle.json"
CONSISTENCY = "targets/log/consistency.json"

BY_CUSTODIANS = (IDENTITY, JWKS, PLAN, PROFILES, SITES)
BY_APPLIANCE = (*STATUS_LISTS, TAINTS, CHECKPOINT, CONSISTENCY, TIMES)
ROLES = (TIMESTAMP, SNAPSHOT, TARGETS, SITE_ROLE)
REQUIRED = (ROOTS[0], *ROLES, *BY_CUSTODIANS, STATUS_LISTS[0], TAINTS, CHECKPOINT, TIMES)

LIMITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys((*ROOTS, *ROLES), MAX_METADATA),
        **dict.fromkeys((IDENTITY, TAINTS, CHECKPOINT, TIMES), MAX_SMALL),
        CONSISTENCY: 256 * 1024,
        **dict.fromkeys((JWKS, PLAN, PROFILES, SITES), 1024 * 1024),
        **dict.fromkeys(STATUS_LISTS, 512 * 1024),
    }
)
"""The closed list: every name that a bundle may hold, with its most bytes."""

KEPT = "checkpoints.json"
IN_GENERATION: Mapping[str, int] = MappingProxyType({**LIMITS, KEPT: MAX_METADATA})
"""What a generation may hold: a bundle's files, and beside them the checkpoints of the bundles before it."""

PINS, ROOT, CURRENT, GENERATIONS, MANIFEST = "site.json", "root.json", "current", "generations", "manifest.json"
EVIDENCE = "evidence.json"
SITE_KEY, ENROLMENT = "site.key", "site-key.json"


@dataclass(frozen=True, slots=True)
class Pins:
    """What `site init` fixed for good: the site's name and the fingerprint of the root (SHA-256 of its bytes, hex)."""

    site: str
    root: str

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read site.json (`Malformed`)."""
        record = Record.of(loads_canonical(body), PINS)
        record.version()
        pins = cls(names.label(record.text("site"), "site name"), record.digest("root"))
        record.done()
        return pins

    def write(self) -> bytes:
        """Give the bytes of site.json."""
        return dumps({"v": 1, "site": self.site, "root": self.root})


def check_names(files: Mapping[str, bytes]) -> None:
    """Return when every name is on the closed list and no file too large (`Malformed`)."""
    for name, body in files.items():
        if name not in LIMITS:
            raise Malformed(f"{name[:128]!a} is not a file of a bundle")
        if len(body) > LIMITS[name]:
            raise Malformed(f"{name} has {len(body)} bytes where at most {LIMITS[name]} are read")


def write_manifest(files: Mapping[str, bytes]) -> bytes:
    """Give the bytes of manifest.json: name, length and SHA-256 of each file, sorted by name."""
    rows: list[Json] = [
        {"name": name, "length": len(body), "sha256": sha256_hex(body)} for name, body in sorted(files.items())
    ]
    return dumps({"v": 1, "files": rows})


def parse_manifest(body: bytes) -> dict[str, tuple[int, str]]:
    """Read manifest.json as length and SHA-256 by name; a name off the list, or one missing, is `Malformed`."""
    record = Record.of(loads_canonical(body, max_bytes=MAX_METADATA), MANIFEST)
    record.version()
    rows: dict[str, tuple[int, str]] = {}
    for row in record.records("files", most=len(IN_GENERATION)):
        name, length, digest = row.text("name"), row.integer("length"), row.digest("sha256")
        row.done()
        if name not in IN_GENERATION or name in rows or length > IN_GENERATION[name]:
            raise Malformed(f"{name[:128]!a} is listed, which does not belong there")
        rows[name] = length, digest
    record.done()
    if missing := [name for name in REQUIRED if name not in rows]:
        raise Malformed(f"{missing[0]} is not listed")
    if sum(length for length, _ in rows.values()) > MAX_GENERATION:
        raise Malformed(f"more than {MAX_GENERATION} bytes are listed")
    return rows
