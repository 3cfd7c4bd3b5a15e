"""Cedar calls itself for each level of an expression: no text that is read ends the process, whatever its stack is."""

import resource
import subprocess
import sys

import pytest

from appliance.errors import Refusal, Refused
from appliance.policytext import CEDAR_LEVELS
from coldcred.acts import Act
from coldcred.canonical import sha256_hex
from tests.support.serving import Appliance, mine, ready
from tests.support.tree import ROOT

__all__ = ["mine", "ready"]

STACKS = {"of 1 MiB": 1024 * 1024, "of 8 MiB": 8 * 1024 * 1024, "without end": resource.RLIM_INFINITY}

DEEPEST = """\
import sys
from appliance.cedar import PolicySet
from appliance.policytext import MAX_NESTING, MAX_WORDS, PolicyInvalid
from coldcred.acts import Act, Principal, Role
links = {"true && ": 3, "if true then true else ": 5, "1 + ": 2, "!true || ": 4, "[1].contains(1) || ": 10,
         "1 * ": 2, "1 < ": 2, "principal has a || ": 5, '"a" like "*" && ': 5, "if true then ": 5}
ends = {".roles": 2, '["roles"]': 3, '.contains("a")': 5, ".isEmpty()": 4}
def text(body):
    return '@id("a") permit (principal, action == Action::"site.add", resource) when {' + body + "};"
def bodies(words_of):
    for brackets in (0, MAX_NESTING - 2):
        for opening, closing in ("()", "[]", ("!(", ")")):
            for link, words in links.items():
                room = words_of(brackets) // words
                ending = " else true" * room if link == "if true then " else ""
                yield opening * brackets + link * room + "true" + ending + closing * brackets
            for end, words in ends.items():
                yield opening * brackets + "principal" + end * (words_of(brackets) // words) + closing * brackets
for body in bodies(lambda brackets: MAX_WORDS - 40 - 3 * brackets):
    try:
        PolicySet.parse(text(body).encode())
    except PolicyInvalid as invalid:
        assert "words" not in invalid.detail and "deep" not in invalid.detail, invalid
for levels in range(100, 0, -1):
    try:
        policies = PolicySet.parse(text("1 + " * levels + "1 > 3").encode())
        break
    except PolicyInvalid:
        pass
assert levels > 80, levels
assert policies.ruling(Principal("bob", frozenset({Role.OFFICER})), Act.SITE_ADD).policies == ("a",)
print("alive")
"""


@pytest.mark.parametrize("stack", STACKS)
def test_the_deepest_text_that_is_read_does_not_end_the_process(stack: str) -> None:
    """At the bounds of a text it is read or refused, and the deepest that Cedar takes is asked, on any stack."""
    done = subprocess.run(
        [*_under(stack), sys.executable, "-c", DEEPEST],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


def _under(stack: str) -> tuple[str, ...]:
    """Give the words before a program that give it this stack, or the most that this machine lets it have."""
    most, wanted = resource.getrlimit(resource.RLIMIT_STACK)[1], STACKS[stack]
    given = wanted if most == resource.RLIM_INFINITY or -1 < wanted < most else most
    return ("prlimit", f"--stack={'unlimited' if given == resource.RLIM_INFINITY else given}")


@pytest.mark.parametrize("stack", ["of 1 MiB", "without end"])
def test_an_auditor_cannot_end_the_service_by_a_text(mine: Appliance, stack: str) -> None:
    """480 additions, sent for a preview to an appliance on such a stack, are refused, and it serves on."""
    body = f'@id("p0") forbid (principal, action, resource) when {{ {"1+" * 480}1 > 3 }};'.encode()
    with mine.serve(under=_under(stack)) as server:
        transport = server.transport()
        transport.open_reading(mine.command("carol", Act.READ_OPEN))
        with pytest.raises(Refused) as refused:
            transport.preview(Act.POLICY_SET, {"policy": sha256_hex(body)}, {sha256_hex(body): body})
        assert refused.value.reason is Refusal.POLICY_INVALID
        assert f"{CEDAR_LEVELS} levels" in refused.value.detail
        assert transport.read("status", {})
        server.process.terminate()
        assert server.wait().code == 0
