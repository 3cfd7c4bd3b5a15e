"""`coldcred site init`: make a trust store; exit 0 made, 1 refused, 2 misuse."""

import argparse
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coldcred.cli.speech import ACCEPTED, TooLarge, put, read_file
from coldcred.errors import BundleReason, BundleRefused
from coldcred.layout import ENROLMENT, MAX_METADATA

if TYPE_CHECKING:
    from coldcred.cli import Nouns


def add_parser(nouns: "Nouns") -> None:
    """Add `site` and its verbs."""
    site = nouns.add_parser("site", help="make this site's trust store", allow_abbrev=False)
    verbs = site.add_subparsers(required=True, metavar="VERB")
    parser = verbs.add_parser("init", help="pin the root of trust and the site's name, once", allow_abbrev=False)
    parser.add_argument("dir", metavar="DIR", help="the trust store to make; must not exist or be empty")
    parser.add_argument("--root", required=True, metavar="ROOT.json", help="the root of trust, as it was carried here")
    parser.add_argument("--fingerprint", required=True, metavar="HEX", help="its SHA-256, as the custodians gave it")
    parser.add_argument("--site", required=True, metavar="NAME", help="this site's name at the appliance")
    parser.set_defaults(run=init)


def init(args: argparse.Namespace) -> int:
    """Make the trust store and say what it pins."""
    from coldcred import bundle  # noqa: PLC0415 - verifying needs no TUF, so only these verbs load it

    try:
        root = read_file(args.root, MAX_METADATA)
    except TooLarge as error:
        raise BundleRefused(BundleReason.TOO_LARGE, str(error)) from error
    pins = bundle.init(
        args.dir, root=root, fingerprint=args.fingerprint, site=args.site, key=Ed25519PrivateKey.generate()
    )
    put(f"site {pins.site} trusts root {pins.root}")
    put(f"its trust store is {args.dir}; {ENROLMENT} in it carries the site's public key to the appliance")
    return ACCEPTED
