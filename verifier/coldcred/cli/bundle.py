"""`coldcred bundle inspect | apply`: look into a rotation bundle, or make it this site's trust."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from coldcred.canonical import Json
from coldcred.cli.speech import ACCEPTED, Misuse, TooLarge, clean, put, read_file, tell, utc
from coldcred.errors import BundleReason, BundleRefused
from coldcred.files import write_file
from coldcred.framing import MAX_BUNDLE
from coldcred.trust import TrustStore

if TYPE_CHECKING:
    from coldcred.bundle import Inspection
    from coldcred.cli import Nouns


def add_parser(nouns: "Nouns") -> None:
    """Add `bundle` and its verbs."""
    noun = nouns.add_parser("bundle", help="look into or apply a rotation bundle", allow_abbrev=False)
    verbs = noun.add_subparsers(required=True, metavar="VERB")
    parser = verbs.add_parser("inspect", help="say what a bundle holds, without trusting it", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE", help="the bundle, or - for standard input")
    parser.add_argument("--json", action="store_true", help="write what it says as JSON")
    parser.set_defaults(run=inspect)
    parser = verbs.add_parser("apply", help="verify a bundle and make it this site's trust", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE", help="the bundle, or - for standard input")
    parser.add_argument("--trust", required=True, metavar="DIR", help="the site's trust store")
    parser.set_defaults(run=apply)
    parser = verbs.add_parser(
        "evidence", help="give an auditor the checkpoints that contradict this site's", allow_abbrev=False
    )
    parser.add_argument("--trust", required=True, metavar="DIR", help="the site's trust store")
    parser.add_argument("--out", metavar="FILE", help="the file to write for `coldcred log verify --checkpoint`")
    parser.set_defaults(run=evidence)


def inspect(args: argparse.Namespace) -> int:
    """Say what a bundle holds."""
    from coldcred import bundle  # noqa: PLC0415 - verifying needs no TUF, so only these verbs load it

    found = bundle.inspect(_read(args.file))
    put(json.dumps(_report(found)) if args.json else "\n".join(_lines(found)))
    return ACCEPTED


def apply(args: argparse.Namespace) -> int:
    """Apply a bundle and say what this site trusts now."""
    from coldcred import bundle  # noqa: PLC0415 - verifying needs no TUF, so only these verbs load it

    data = _read(args.file)
    applied = bundle.apply(data, args.trust, now=time.time())
    times = applied.store.times
    what = "applied" if applied.changed else "already applied, nothing changed:"
    put(f"{what} bundle {times.sequence} for site {times.site}, issued {utc(times.issued_at)}")
    put(f"trust ages from {utc(times.ageing_after)}, is stale from {utc(times.stale_after)}, ends {utc(times.end)}")
    if applied.contradicted is not None:
        tell(
            f"custodians have replaced the bundle key, so the log begins anew here: {applied.contradicted.detail}."
            " Both checkpoints are kept: give an auditor what `coldcred bundle evidence` writes."
        )
    return ACCEPTED


def evidence(args: argparse.Namespace) -> int:
    """Say which checkpoints contradicted those of this site, and write them for an auditor."""
    from coldcred.bundle.evidence import read  # noqa: PLC0415 - verifying needs no TUF, so only these verbs load it
    from coldcred.log.keeping import parse_evidence  # noqa: PLC0415 - as above

    body = read(args.trust)
    if body is None:
        put("no bundle has contradicted the log that this site knows")
        return ACCEPTED
    if args.out is not None:
        try:
            write_file(Path(args.out), body, replace=False)
        except OSError as error:
            raise Misuse(f"{args.out} cannot be written: {error.strerror}") from error
    for one in parse_evidence(body):
        put(f"{utc(one.at)} {one.reason}: bundle {one.found_bundle}, SHA-256 {one.sha256}")
        for what, number, note in (("held", one.held_bundle, one.held), ("found", one.found_bundle, one.found)):
            origin, size, root = (clean(line) for line in note.decode().split("\n")[:3])
            put(f"  {what:<6}bundle {number}: {size} entries of {origin}, root {root}")
    return ACCEPTED


def _read(name: str) -> bytes:
    try:
        return read_file(name, MAX_BUNDLE)
    except TooLarge as error:
        raise BundleRefused(BundleReason.TOO_LARGE, str(error)) from error


def _report(found: "Inspection") -> dict[str, Json]:
    store = found.store
    identity, times = store.identity, store.times
    return {
        "root": found.fingerprint,
        "root_version": found.root_version,
        "targets_version": found.targets_version,
        "appliance": identity.appliance,
        "name": identity.name,
        "trust_domain": identity.trust_domain,
        "issuer": identity.issuer,
        "single_operator": identity.single_operator,
        "site": times.site,
        "bundle": times.sequence,
        "issued_at": utc(times.issued_at),
        "ageing_after": utc(times.ageing_after),
        "stale_after": utc(times.stale_after),
        "end": utc(times.end),
        "windows": [window.as_json() for window in store.plan.windows],
        "keys": _keys(store),
        "status_lists": [*store.status_lists],
        "taints": [*sorted(store.taints)],
        "log_key": found.log_key,
        "log_size": found.log_size,
        "proofs": found.proofs,
        "files": found.files,
        "bytes": found.size,
    }


def _keys(store: TrustStore) -> list[Json]:
    return [
        {
            "kid": key.kid,
            "purpose": key.charter.purpose.value,
            "nbf": utc(key.not_before),
            "exp": utc(key.expires_at),
        }
        for key in store.keys.values()
    ]


def _lines(found: "Inspection") -> list[str]:
    store = found.store
    identity, times = store.identity, store.times
    lines = [
        f"bundle {times.sequence} for site {times.site} by appliance {identity.name} ({identity.appliance})",
        f"  root      {found.fingerprint} (version {found.root_version}): whole, and signed under this root;",
        "            whether it is the right one, only comparing its fingerprint tells",
        f"  log       checkpoint signed by {found.log_key}, over {found.log_size} entries;",
        f"            with {found.proofs} proofs that it grew from earlier ones",
        "  checked   all that a site checks, but for its clock and for what it holds already",
        f"  times     issued {utc(times.issued_at)}, ageing {utc(times.ageing_after)}, stale {utc(times.stale_after)},",
        f"            ends {utc(times.end)}",
    ]
    if identity.single_operator:
        lines.append("  people    SINGLE OPERATOR: founded by one person")
    lines += [
        f"  window {window.number:<2} {utc(window.not_before)} to {utc(window.expires_at)}"
        for window in store.plan.windows
    ]
    lines += [
        f"  key       {key.kid} for {key.charter.purpose}, {utc(key.not_before)} to {utc(key.expires_at)}"
        for key in store.keys.values()
    ]
    lines += [f"  status    {found.uri}, until {utc(found.expires_at)}" for found in store.status_lists.values()]
    lines += [f"  tainted   {kid}" for kid in sorted(store.taints)]
    return lines
