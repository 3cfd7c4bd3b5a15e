"""`coldcred enrol`: make a machine's keys, and the document by which people enrol it; exit 0 written, 1 refused."""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from coldcred import names
from coldcred.canonical import b64u_encode, said_digest
from coldcred.cli.places import keeps, writes
from coldcred.cli.speech import ACCEPTED, Misuse, clean, put, tell
from coldcred.files import FileKind, write_file
from coldcred.jose import Typ

if TYPE_CHECKING:
    from coldcred.cli import Nouns

ENROLMENT_LIFE = 14 * 24 * 3600
_JTI_BYTES = 16


def add_parser(nouns: "Nouns") -> None:
    """Add `enrol`."""
    parser = nouns.add_parser("enrol", help="make a machine's keys and its enrolment document", allow_abbrev=False)
    parser.add_argument("--appliance", required=True, metavar="HEX", help="the appliance's id")
    parser.add_argument("--id", required=True, metavar="SPIFFE-ID", help="this machine's SPIFFE ID")
    parser.add_argument(
        "--key",
        required=True,
        type=keeps("--key", FileKind.SECRET),
        metavar="FILE",
        help="its signing key, made where there is none",
    )
    parser.add_argument(
        "--seal-key",
        type=keeps("--seal-key", FileKind.SECRET),
        metavar="FILE",
        help="its sealing key, made where there is none",
    )
    parser.add_argument(
        "--out", required=True, type=writes("--out", FileKind.GIVEN), metavar="FILE", help="the document to write"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make what is missing, and write the document."""
    # Verifying needs neither private keys nor enrolments, so only this verb loads them.
    from coldcred.cli import keyfile  # noqa: PLC0415 - verifying, which is asked most, does not load it
    from coldcred.enrolment import enrolment_claims  # noqa: PLC0415 - verifying, which is asked most, does not load it

    workload = names.spiffe_id(args.id)
    appliance = said_digest(args.appliance, "--appliance")
    try:
        for given, make in ((args.key, keyfile.make_signing_key), (args.seal_key, keyfile.make_sealing_key)):
            if given is not None and make(Path(given)):
                tell(f"made {given}; keep it on this machine, and readable by nobody else")
        key = keyfile.signing_key(Path(args.key))
        seal = None if args.seal_key is None else keyfile.sealing_key(Path(args.seal_key))
        now = int(time.time())
        claims = enrolment_claims(
            appliance=appliance,
            workload=workload,
            key=key.public,
            seal=seal,
            jti=b64u_encode(os.urandom(_JTI_BYTES)),
            issued_at=now,
            expires_at=now + ENROLMENT_LIFE,
        )
        write_file(Path(args.out), f"{key.token(Typ.ENROLMENT, claims)}\n".encode(), FileKind.GIVEN)
    except OSError as error:
        raise Misuse(f"{error.filename}: {error.strerror}") from error
    put(clean(args.out))
    tell(f"the key's thumbprint is {key.public.thumbprint}: compare it with what the appliance shows")
    tell(f"carry {args.out} there within 14 days: coldcredctl workload enrol {workload} --enrolment FILE")
    return ACCEPTED
