"""The text of a policy before Cedar reads it: bounded, printable, and nested no deeper than Cedar can bear.

Cedar's parser and its printer call themselves for each level of an expression, and refuse what is too deep only when
they are through with it. Where the stack ends before, so does the whole process, which no caller can catch. So words
and brackets, which bound the levels, are counted here first, and `appliance.cedar` reads on a stack with room for them.
"""

import re
from dataclasses import dataclass

MAX_BYTES = 32 * 1024
MAX_POLICIES = 128
"""Entries name the policies that permitted what they record, so there cannot be very many."""
MAX_NESTING = 24
MAX_WORDS = 1000
"""Words and marks of one policy, commas left out. Chains such as `a && b && ...` nest too, one level for each link."""
CEDAR_LEVELS = 100
"""Levels of an expression beyond which Cedar's binding reads none; it counts them itself, and says so."""

_TOKEN = re.compile(
    r"(?P<blank>[ \t\n]+|//[^\n]*)|\"(?:[^\"\\\n]|\\[^\n])*\"|\w+|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>;)|[^\"]",
    re.ASCII,
)
_STRANGE = re.compile(rb"[^\t\x20-\x7e]")


class PolicyInvalid(Exception):
    """A text is no policy that can be in force here; `line` counts from 1 and is where it goes wrong, if known."""

    def __init__(self, detail: str, line: int | None = None) -> None:
        """Say what was found and where."""
        self.line = line
        self.detail = detail if line is None else f"line {line}: {detail}"
        super().__init__(self.detail)

    @property
    def id(self) -> str:
        """Always `policy-invalid`."""
        return "policy-invalid"


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy of a text, and the line on which its first word stands."""

    line: int
    text: str


def statements(body: bytes) -> tuple[Statement, ...]:
    """Give the policies of a text, each up to its semicolon; raises `PolicyInvalid`."""
    if len(body) > MAX_BYTES:
        raise PolicyInvalid(f"{len(body)} bytes where a policy has at most {MAX_BYTES}")
    text = _printable(body)
    found: list[Statement] = []
    begun, depth, words, place, line = None, 0, 0, 0, 1
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise PolicyInvalid("a quoted text that does not end on its line", line)
        if token["blank"] is None:
            begun = begun or (place, line)
            words += token[0] != ","
            depth += (token["open"] is not None) - (token["close"] is not None)
            _check_bounds(depth, words, line)
        if token["end"] is not None and begun is not None:
            if depth:
                raise PolicyInvalid("a bracket that is not closed in the policy that begins here", begun[1])
            found.append(Statement(begun[1], text[begun[0] : token.end()]))
            begun, words = None, 0
        place, line = token.end(), line + token[0].count("\n")
    if begun is not None:
        found.append(Statement(begun[1], text[begun[0] :]))
    if len(found) > MAX_POLICIES:
        raise PolicyInvalid(f"more than {MAX_POLICIES} policies", found[MAX_POLICIES].line)
    return tuple(found)


def _printable(body: bytes) -> str:
    """Read the text as ASCII that can be seen: nothing in it looks like what it is not."""
    for number, line in enumerate(body.split(b"\n"), start=1):
        if strange := _STRANGE.search(line):
            raise PolicyInvalid(f"byte 0x{strange[0].hex()}, where a policy is printable ASCII", number)
    return body.decode("ascii")


def _check_bounds(depth: int, words: int, line: int) -> None:
    if depth < 0:
        raise PolicyInvalid("a bracket that closes nothing", line)
    if depth > MAX_NESTING:
        raise PolicyInvalid(f"brackets {depth} deep, where at most {MAX_NESTING} are read", line)
    if words > MAX_WORDS:
        raise PolicyInvalid(f"a policy of over {MAX_WORDS} words; write it as several", line)
