"""The command `coldcred`, one module per noun; each has `add_parser`, called in the order of `NOUNS`.

No rule lives here: arguments in, one call of the library, sentences out. Standard output is data, standard error talk.
"""

import argparse
from typing import Protocol, TypeAlias

from coldcred.cli import bundle, enrol, log, request, site, verify

Nouns: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse names it no other way
"""What `add_parser` is given: the place to which a noun adds its own parser."""


class Noun(Protocol):
    """A module of this package."""

    def add_parser(self, nouns: Nouns) -> None:
        """Add the noun; its parser sets `run`, which takes the parsed arguments and returns the exit code."""


NOUNS: tuple[Noun, ...] = (verify, site, bundle, log, enrol, request)
