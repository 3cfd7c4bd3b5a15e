"""What a policy or a profile would change, asked of the appliance and shown before its command is sent."""

from collections.abc import Iterator, Mapping

from appliance.cli import output
from appliance.client import Client
from appliance.errors import Refusal, Refused
from coldcred.acts import Act
from coldcred.canonical import Json

PREVIEWED = frozenset({Act.POLICY_SET, Act.PROFILE_SET})
"""Acts whose effect is shown first."""


def shown(
    client: Client, act: Act, args: dict[str, Json], attachments: Mapping[str, bytes], *, show: bool = True
) -> dict[str, Json]:
    """Give what a command would change as the member `preview`, and `show` it; nothing where it is not previewed.

    Raises `Refused` where its decision would refuse it too. Whoever may not read sends it unseen.
    """
    if act not in PREVIEWED:
        return {}
    try:
        found = client.preview(act, args, attachments)
    except Refused as refused:
        if refused.reason is not Refusal.NOT_ALLOWED:
            raise
        output.talk(f"no preview: {refused.detail}")
        return {}
    if show:
        output.talk("preview: what this would change for everything now alive")
        output.show(lines(found))
    return {"preview": found}


def lines(preview: Json) -> Iterator[str]:
    """Write a preview for people."""
    found = preview if isinstance(preview, dict) else {}
    if "live" in found:
        yield from _about_profile(found)
    changes = found.get("changes")
    for change in changes if isinstance(changes, list) else ():
        if isinstance(change, dict):
            under = f" under profile {change['profile']}" if change.get("profile") else ""
            asked = f"{change.get('who')}: {change.get('act')}{under}"
            yield f"{asked} becomes {change.get('becomes')} ({change.get('by')})"
    listed, everything = len(changes) if isinstance(changes, list) else 0, found.get("all_changes")
    if not everything:
        yield "nobody who is enrolled may ask for more or less than before"
    elif isinstance(everything, int) and everything > listed:
        yield f"and {everything - listed} more changes of that kind"
    workloads = found.get("workloads")
    if isinstance(workloads, dict) and workloads.get("asked") != workloads.get("all"):
        yield f"only the first {workloads.get('asked')} of {workloads.get('all')} workloads were asked about"


def _about_profile(found: Mapping[str, Json]) -> Iterator[str]:
    outside, losing, narrowed = found.get("outside"), found.get("losing"), found.get("narrowed")
    if isinstance(outside, dict):
        live = f"{found['live']} live credentials under profile {found.get('profile')}"
        line = f"{live}, {outside.get('count')} outside it then"
        first, last = outside.get("first_end"), outside.get("last_end")
        if isinstance(first, int) and isinstance(last, int):
            line += f"; they stay good until they end, from {output.moment(first)} to {output.moment(last)}"
        yield line
    if isinstance(narrowed, list) and narrowed:
        yield f"narrower than before: {output.cell(narrowed)}"
    if isinstance(losing, dict) and losing.get("count"):
        yield f"{losing['count']} enrolled workloads lose it: {output.cell(losing.get('workloads'))}"
