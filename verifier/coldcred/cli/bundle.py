"""`coldcred bundle inspect | apply`: look into a rotation bundle, or make it this site's trust."""

import argparse
import json
import time
from typing import TYPE_CHECKING

from coldcred.canonical import Json
from coldcred.cli.speech import ACCEPTED, TooLarge, put, read_file, utc
from coldcred.errors import BundleReason, BundleRefused
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
        f"  root      {found.fingerprint} (version {found.root_version}): whole and signed under this root;",
        "            whether it is the right one, only comparing its fingerprint tells",
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
    lines += [f"  status    {uri}" for uri in store.status_lists]
    lines += [f"  tainted   {kid}" for kid in sorted(store.taints)]
    return lines
