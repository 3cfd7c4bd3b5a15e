"""What the campaign is about: `campaign.toml` beside this module, read."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutate import Mutant, mutants
from tests.support.tree import ROOT

FILE = Path(__file__).with_name("campaign.toml")


@dataclass(frozen=True)
class Campaign:
    """The modules with the test files that concern each, and each harmless mutant with the reason why it is."""

    modules: Mapping[str, tuple[str, ...]]
    harmless: Mapping[str, str]

    @classmethod
    def read(cls) -> "Campaign":
        """Read the file; raises `KeyError` where a member is missing."""
        told = tomllib.loads(FILE.read_text())
        return cls(
            {path: tuple(tests) for path, tests in told["modules"].items()},
            {one["mutant"]: one["why"] for one in told["harmless"]},
        )

    def mutants(self, path: str) -> list[Mutant]:
        """Give the mutants of one module of the campaign."""
        return mutants(path, (ROOT / path).read_text())
