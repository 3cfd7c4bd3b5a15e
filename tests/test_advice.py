"""What people are told to run next can be run: every message of both commands, and the pages that they read."""

from pathlib import Path

import pytest

from appliance.cli.messages import MESSAGES
from coldcred.cli.speech import ADVICE, BUNDLE_ADVICE
from tests.support import advice
from tests.support.tree import ROOT

TEXTS = {
    **{name: f"{message.what} {message.state} {message.next}" for name, message in MESSAGES.items()},
    **{reason.value: text for reason, text in ADVICE.items()},
    **{f"bundle {reason.value}": text for reason, text in BUNDLE_ADVICE.items()},
}
PAGES = sorted(path for folder in (ROOT / "docs", ROOT / "verifier", ROOT) for path in folder.glob("*.md"))


@pytest.mark.parametrize("name", TEXTS)
def test_a_message_names_lines_that_exist(name: str) -> None:
    """A verb is there; a line with options and arguments has all that the verb takes, and nothing else."""
    advice.check(TEXTS[name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_lines_that_exist(page: Path) -> None:
    """The same for what documents say in a sentence."""
    advice.check(page.read_text(), whole=False)


@pytest.mark.parametrize(
    "line",
    [
        "`coldcredctl nothing`",
        "`coldcredctl revoke JTI --because x`",
        "`coldcredctl revoke JTI`",
        "`coldcredctl bundle create --out FILE`",
        "`coldcred nothing`",
        "`coldcred bundle apply FILE --store DIR`",
    ],
)
def test_what_is_no_line_is_found(line: str) -> None:
    """An unknown verb, an unknown option, and one that is missing."""
    with pytest.raises(AssertionError):
        advice.check(line)
