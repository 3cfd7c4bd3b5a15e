"""What stands below a request that is to be signed for: what is in force, what it would change, what would refuse it.

None of it is part of what is signed. It follows from the lines above it and from what stands now.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from appliance.cli import output, previews
from appliance.client import Client
from appliance.errors import Refusal, Refused
from coldcred.acts import Act
from coldcred.asked import Asked
from coldcred.batch import BatchArguments, is_batch, read_items
from coldcred.canonical import Json
from coldcred.command import Verdict, profiles_named
from coldcred.errors import Malformed
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.rendering import changes as differences
from coldcred.rendering import frame, members
from coldcred.requests import RequestFile, Seen
from coldcred.terms import Terms

MOST_PROFILES = 16
"""Profiles of a batch that are shown as they stand, and asked about."""


def stands(terms: Terms, seen: Seen) -> Iterator[str]:
    """Say how much is signed for, and under which policy and profiles."""
    yield ""
    yield frame.said(f"the {len(seen.lines)} lines above are signed for, as SHA-256 {seen.basis.shown}")
    yield frame.said(f"appliance {terms.name}, as of {output.moment(terms.time)}")
    yield frame.said(f"under policy {terms.policy}")
    named = [profile for profile in terms.profiles if profile.name in seen.named]
    if seen.command.act is Act.PROFILE_SET:
        return
    for profile in named[:MOST_PROFILES]:
        yield frame.said(f"under profile {profile.name} as it stands")
        yield from members.lines(profile.as_json())
    if len(named) > MOST_PROFILES:
        yield frame.said(f"and under {len(named) - MOST_PROFILES} more profiles; `coldcredctl profile list` has them")


def changes(act: Act, args: dict[str, Json], attachments: Mapping[str, bytes], terms: Terms) -> Iterator[str]:
    """Say what a policy or a profile would change in the one in force."""
    match act:
        case Act.POLICY_SET:
            yield ""
            if terms.policy_text is None:
                yield frame.said("the policy in force is not here to compare with; read the whole text above")
                return
            new = attachments[str(args["policy"])].decode("ascii")
            yield from differences.policy(terms.policy_text, new)
        case Act.PROFILE_SET:
            yield ""
            named = profiles_named(act, args)
            old = next((profile for profile in terms.profiles if profile.name in named), None)
            try:
                new_profile = Profile.read(Record(args, "profile.set").record("profile"), terms.trust_domain)
            except Malformed as error:
                yield frame.said("no profile has this form, and it would be refused")
                yield frame.given(str(error))
                return
            yield from differences.profile(old, new_profile)
        case _:
            return


def foretold(client: Client, found: RequestFile, seen: Seen, approver: str, verdict: Verdict) -> Iterator[str]:
    """Ask the appliance what it would change for everybody, and what would refuse it though `approver` approves."""
    act, args = seen.command.act, seen.command.args
    if act in previews.PREVIEWED:
        yield from effect(lambda: client.preview(act, args, found.attachments))
    if verdict is Verdict.DENY:
        return
    behind: list[Json] = [*sorted({approver, *_have(client, seen.command.id)} - {seen.by})]
    hindered: list[str] = []
    for one, beside in _singly(found, seen):
        imagined: dict[str, Json] = {"by": seen.by, "act": act.value, "args": one, "approved_by": behind}
        hindered += _heard(partial(_refusals, client, imagined, beside))
    if hindered:
        yield ""
        yield frame.said("as things stand, and with your approval, it would be refused")
        yield from dict.fromkeys(hindered)


def effect(preview: Callable[[], Json]) -> Iterator[str]:
    """Say what a policy or a profile would change for everybody, or why that is not told."""
    yield ""
    yield frame.said("what it would change for everything now alive")
    yield from _heard(lambda: previews.lines(preview()))


def _have(client: Client, command: str) -> set[str]:
    """Give whoever stands behind a request already."""
    rows = client.read("requests")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("command") == command and isinstance(have := row.get("have"), list):
            return {str(person) for person in have}
    return set()


def _singly(found: RequestFile, seen: Seen) -> Iterator[tuple[dict[str, Json], Mapping[str, bytes]]]:
    """Give what can be asked about: the request, or of a batch the first line that is under each profile."""
    args = seen.command.args
    if seen.command.act is not Act.CREDENTIAL_ISSUE or not is_batch(args):
        yield args, found.attachments
        return
    body = found.attachments[BatchArguments.read(Record(args, seen.command.act)).items.sha256]
    met: set[str] = set()
    for item in read_items(body):
        if isinstance(item, Asked) and item.profile not in met and len(met) < MOST_PROFILES:
            met.add(item.profile)
            yield item.as_json(), {}


def _refusals(client: Client, imagined: dict[str, Json], beside: Mapping[str, bytes]) -> Iterator[str]:
    """Say what would refuse it; that it waits already counts against nobody."""
    found = client.why(imagined, beside)
    checks = found.get("checks") if isinstance(found, dict) else None
    for check in checks if isinstance(checks, list) else ():
        refused = isinstance(check, dict) and check.get("verdict") == "refused"
        if isinstance(check, dict) and refused and check.get("reason") != Refusal.QUOTA_EXCEEDED:
            yield f"{check.get('reason')}: {check.get('found')} [{check.get('rule')}]"


def _heard(ask: Callable[[], Iterable[str]]) -> list[str]:
    """Give what the appliance says as lines of content, its refusal included."""
    try:
        return [frame.given(line) for line in ask()]
    except Refused as refused:
        return [frame.given(f"{refused.reason.value}: {refused.detail}")]
