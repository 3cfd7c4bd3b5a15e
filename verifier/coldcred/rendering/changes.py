"""What a request would change: a policy's text, or a profile, beside the one in force.

Approvals name the SHA-256 of the policy and of the profiles in force (R9) and of what is to come, so these lines follow
from what is signed. They are no part of what `shown` covers.
"""

from collections.abc import Iterator
from difflib import unified_diff

from coldcred.canonical import Json, sha256_hex
from coldcred.profile import Profile
from coldcred.rendering import frame, members


def policy(old: str, new: str) -> Iterator[str]:
    """Write the lines in which two texts differ, with three lines around each, and the SHA-256 of both."""
    yield frame.said(f"the policy in force {sha256_hex(old.encode())}")
    yield frame.said(f"the policy asked for {sha256_hex(new.encode())}")
    if old == new:
        yield frame.said("they are the same")
        return
    yield frame.said("lines that go begin with -, lines that come with +")
    found = unified_diff(old.split("\n"), new.split("\n"), "in force", "asked for", lineterm="")
    yield from (frame.given(line) for line in found)


def profile(old: Profile | None, new: Profile) -> Iterator[str]:
    """Write every member of a profile that changes, old and new, and name those that do not."""
    if old is None:
        yield frame.said(f"there is no profile {new.name} now")
        return
    before, after = _members(old), _members(new)
    same = [name for name in before if before[name] == after[name]]
    yield frame.said(f"profile {new.name}, as it stands -> as asked for")
    for name in before:
        if name not in same:
            yield frame.content(f"{name} {_value(name, before[name])} -> {_value(name, after[name])}")
    yield frame.said(f"unchanged: {', '.join(same)}")


def _members(found: Profile) -> dict[str, Json]:
    """Give every member, those that are left out included."""
    absent: dict[str, Json] = dict.fromkeys(("groups", "asked_by", "requires", "excludes"))
    return {**absent, **found.as_json()}


def _value(name: str, value: Json) -> str:
    match value:
        case None:
            return "(absent)"
        case list():
            return f"[{', '.join(members.written(item) for item in value)}]"
        case _:
            words = members.meaning(name, value)
            return f"{members.written(value)}{f' ({words})' if words else ''}"
