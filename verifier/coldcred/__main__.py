"""The command `coldcred`: verify a credential, make a trust store, apply a bundle, all without a network.

Every failure is one sentence on standard error and an exit code: 0 accepted or done, 1 rejected or refused, 2 misuse.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from coldcred import streams
from coldcred.cli import NOUNS, places
from coldcred.cli.speech import BUNDLE_ADVICE, MISUSE, REFUSED, OutputLost, clean, tell
from coldcred.errors import BundleRefused, ColdcredError, LogContradicted

_INTERRUPTED = 130
_EXTRA = {"tuf", "securesystemslib"}


class Parser(argparse.ArgumentParser):
    """A parser whose complaints cannot move a cursor: arguments may be names of files on a carried medium."""

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong with the arguments, and exit with 2."""
        self.print_usage(sys.stderr)
        self.exit(MISUSE, f"{self.prog}: error: {clean(message)}\n")


def parser() -> argparse.ArgumentParser:
    """Give the parser of the whole command."""
    command: argparse.ArgumentParser = Parser(
        prog="coldcred",
        description="Verify machine credentials at a site that is never online.",
        epilog="Keys and requests are never written over; a credential or an enrolment, which can be asked for again, "
        "takes the place of the file before it. No output may be a file that the line reads. Exit codes: 0 accepted, "
        "applied, written, given or intact; 1 rejected, refused, not intact or signer unknown; 2 called wrongly; "
        "3 waiting for people; 130 interrupted.",
        allow_abbrev=False,
    )
    nouns = command.add_subparsers(required=True, metavar="COMMAND")
    for noun in NOUNS:
        noun.add_parser(nouns)
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage exits with 2 from within."""
    streams.fill()
    streams.escape_what_does_not_fit()
    args = parser().parse_args(arguments)
    try:
        places.check(args)
        code: int = args.run(args)
    except OutputLost as error:
        tell(f"it was done, and what it says could not be written to standard output: {error}.")
        return REFUSED
    except LogContradicted as error:
        kept = "What is trusted is as it was, and both checkpoints are kept: `coldcred bundle evidence` shows them."
        tell(f"refused ({error.reason}): {error.detail}. {kept} {BUNDLE_ADVICE[error.reason]}")
        return REFUSED
    except BundleRefused as error:
        tell(f"refused ({error.reason}): {error.detail}. Nothing was changed. {BUNDLE_ADVICE[error.reason]}")
        return REFUSED
    except ColdcredError as error:
        tell(f"refused ({error.id}): {error}. Nothing was changed.")
        return REFUSED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        tell("applying bundles needs the extra `coldcred[bundle]`, which is not installed here. Nothing was changed.")
        return MISUSE
    except ValueError as error:
        tell(f"{error}. Nothing was changed. `coldcred --help` shows how it is called.")
        return MISUSE
    except OSError as error:
        tell(f"stopped by the system: {os.strerror(error.errno or 0)}. The outcome is not known; run it again.")
        return REFUSED
    except KeyboardInterrupt:
        tell("interrupted. Run the same command again; it finishes or starts anew.")
        return _INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
