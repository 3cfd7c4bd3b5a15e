"""`coldcred request`: a machine asks for its own credential, over the appliance's socket or by a file that is carried.

Exit 0 given or written, 1 refused, 2 misuse, 3 waiting for people.
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from coldcred.cli.places import keeps, reads, writes
from coldcred.cli.speech import Misuse
from coldcred.files import FileKind

if TYPE_CHECKING:
    from coldcred.cli import Nouns

_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def add_parser(nouns: "Nouns") -> None:
    """Add `request`."""
    parser = nouns.add_parser("request", help="ask for a credential for this machine", allow_abbrev=False)
    parser.add_argument("--key", required=True, type=reads("--key"), metavar="FILE", help="this machine's signing key")
    parser.add_argument("--id", required=True, metavar="SPIFFE-ID", help="this machine's SPIFFE ID")
    parser.add_argument("--profile", required=True, metavar="P", help="the profile that bounds the credential")
    parser.add_argument("--audience", required=True, metavar="AUD", help="where it will be accepted")
    parser.add_argument("--scope", action="append", default=[], metavar="S", help="what it grants; repeatable")
    parser.add_argument("--ttl", metavar="S", help="how long it lives: 900, 900s, 15m")
    parser.add_argument("--purpose", metavar="T", help="a purpose, where the profile requires one")
    parser.add_argument("--task", metavar="T", help="a task, where the profile requires one")
    parser.add_argument("--appliance", metavar="HEX", help="the appliance's id; the socket tells it")
    parser.add_argument("--epoch", type=int, metavar="N", help="its epoch; the socket tells it")
    parser.add_argument("--socket", type=reads("--socket"), metavar="PATH", help="the appliance's socket for workloads")
    parser.add_argument(
        "--out-request",
        type=writes("--out-request", FileKind.DOCUMENT),
        metavar="FILE",
        help="write what this machine signs here, to be carried",
    )
    parser.add_argument(
        "--request",
        type=keeps("--request", FileKind.DOCUMENT),
        metavar="FILE",
        help="the request file: written before it is sent, asked after and completed when it is there",
    )
    parser.add_argument(
        "--out",
        type=writes("--out", FileKind.CREDENTIAL),
        metavar="FILE",
        help="write the credential here; standard output unless given",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, and give what comes back."""
    if (args.socket is None) == (args.out_request is None):
        raise Misuse("give either --socket or --out-request")
    if args.out_request is not None and args.out is not None:
        raise Misuse("--out goes with --socket; whoever carries the request brings the credential back")
    if args.out_request is not None and args.request is not None and not Path(args.request).exists():
        raise Misuse(f"{args.request} is not there; what completes a request is signed once the request is")
    if args.out_request is not None and args.request is None and (args.appliance is None or args.epoch is None):
        raise Misuse("a request that is carried names the appliance: give --appliance and --epoch")
    # Verifying asks nobody, so only this verb loads private keys and a client.
    from coldcred.cli import asking  # noqa: PLC0415 - verifying, which is asked most, does not load it

    return asking.ask(args, read_span(args.ttl))


def read_span(text: str | None) -> int | None:
    """Read a lifetime, `900`, `900s` or `15m`, as seconds (`Misuse`)."""
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise Misuse(f"{text[:32]!a} is not a span like 900, 900s or 15m")
    return int(found[1]) * _UNITS[found[2]]
