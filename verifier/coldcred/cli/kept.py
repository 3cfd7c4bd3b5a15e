"""The request of a machine, kept in a file from before it is sent until it came to its end.

Only this file completes a request that waited for people, and the appliance tells a machine nothing of its requests. So
what cannot be kept is not sent.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coldcred.cli.speech import Misuse
from coldcred.command import document_id
from coldcred.files import write_file
from coldcred.jose import parse_unverified

_SHORT_ID = 12
_OPEN_TO_ALL = 0o644


@dataclass(frozen=True, slots=True)
class Kept:
    """A signed request and the file that it is kept in."""

    token: str
    path: Path

    @classmethod
    def keep(cls, token: str, request: str | None, out: str | None) -> "Kept":
        """Write a request where `--request` says, else beside what it is to give, else here (`Misuse`)."""
        name = f"request-{document_id(parse_unverified(token))[:_SHORT_ID]}.jws"
        folder = Path() if out is None else Path(out).parent
        path = folder / name if request is None else Path(request)
        try:
            write_file(path, f"{token}\n".encode(), mode=_OPEN_TO_ALL, replace=False)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            advice = "A request is kept before it is sent: name a file for it by --request"
            raise Misuse(f"{path}: {why}. {advice}") from error
        return cls(token, path)

    def end(self) -> None:
        """Remove the file of a request that came to its end: the same line is to ask anew."""
        with suppress(OSError):
            self.path.unlink()
