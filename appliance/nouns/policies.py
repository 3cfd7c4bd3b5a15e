"""The policy in force: a text set whole by two people, under which the appliance can still be run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from appliance.authority import Authority
from appliance.cedar import PolicySet
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from appliance.policyschema import ASKED
from appliance.policytext import PolicyInvalid
from coldcred.acts import MAY_APPROVE, RULES, Act, Principal, people_needed
from coldcred.credential import Kind
from coldcred.profile import Profile
from coldcred.record import Record

_ESSENTIAL = (Act.POLICY_SET, Act.PROFILE_SET, Act.READ_OPEN, Act.LOG_EXPORT)
_PEOPLE = "operator."
_LEAST = 60


def decide_set(authority: Authority, ask: Ask) -> Decision:
    """Set the policy: args `policy`, the SHA-256 of its text, which is attached."""
    found = read(authority, Record(ask.command.args, Act.POLICY_SET), ask.attachments)
    event = ask.event("policy.set", {"text": found.digest}, {"policy": found.digest})
    return Decision((event,))


def read(authority: Authority, args: Record, attachments: Mapping[str, bytes]) -> PolicySet:
    """Read the text that a command is to set, and refuse one that is none or would lock people out."""
    found = read_text(args, attachments)
    check_new(authority, found)
    if (why := locks_out(authority, found)) is not None:
        raise locked_out(why)
    return found


def read_text(args: Record, attachments: Mapping[str, bytes]) -> PolicySet:
    """Read the text that a command is to set, whatever stands."""
    digest = args.digest("policy")
    args.done()
    body = attachments.get(digest)
    if body is None:
        raise Refused(Refusal.MALFORMED, "the text of the policy does not travel beside the command")
    try:
        return PolicySet.parse(body)
    except PolicyInvalid as invalid:
        raise Refused(Refusal.POLICY_INVALID, invalid.detail) from invalid


def check_new(authority: Authority, found: PolicySet) -> None:
    """Refuse the policy that is in force."""
    if found.digest == authority.policy:
        raise Refused(Refusal.ALREADY_EXISTS, "this policy is in force")


def locked_out(why: str) -> Refused:
    """Give the refusal of a policy that locks people out."""
    return Refused(Refusal.POLICY_LOCKS_OUT, why)


def essential() -> tuple[Act, ...]:
    """Give the acts without which nobody could mend a policy, or see what it did."""
    people = (act for act in ASKED if act.value.startswith(_PEOPLE))
    return (*_ESSENTIAL, *people)


def locks_out(authority: Authority, policies: PolicySet) -> str | None:
    """Say which essential act the people who are enrolled could not carry out under these policies; else None."""
    return next((why for _, why in out_of_reach(authority, policies)), None)


def check_change(before: Authority, after: Authority, policies: PolicySet) -> None:
    """Refuse a change of people that takes an essential act from all of them; what was lost before stops nobody."""
    lost = {act for act, _ in out_of_reach(before, policies)}
    for act, why in out_of_reach(after, policies):
        if act not in lost:
            raise Refused(Refusal.POLICY_LOCKS_OUT, f"under the policy in force, {why}")


def out_of_reach(authority: Authority, policies: PolicySet) -> Iterator[tuple[Act, str]]:
    """Yield the essential acts that the people who are enrolled could not carry out under these policies, and why."""
    return (found for found in looked_over(authority, policies) if found is not None)


def looked_over(authority: Authority, policies: PolicySet) -> Iterator[tuple[Act, str] | None]:
    """Yield what `out_of_reach` does, and None after each question to the policies, where others may go first.

    Whoever may ask needs as many others who may approve as the act takes. To set profiles it is enough that somebody
    could set some profile among those that are likely.
    """
    people = {one.person: Principal(one.person, one.roles) for one in authority.operators.values()}
    approvers = {person for person, asking in people.items() if asking.roles & MAY_APPROVE}
    for act in essential():
        may_ask = [asking for asking in people.values() if RULES[act].admits(asking)]
        able = []
        for asking in may_ask:
            for profile in _abouts(authority, act):
                could = policies.ruling(asking, act, profile).allowed
                yield None
                if could:
                    able.append(asking)
                    break
        if not able:
            yield act, f"nobody who is enrolled could ask for {act}"
            continue
        raised = authority.founding.quorums.acts.get(act, 0)
        need = people_needed(act, founders=len(authority.founding.people), raised=raised)
        if not any(1 + len(approvers - {asking.id}) >= need for asking in able):
            who = ", ".join(sorted(asking.id for asking in able))
            yield act, f"too few people could approve {act}, which takes {need} and only {who} could ask for"


def _abouts(authority: Authority, act: Act) -> Iterator[Profile | None]:
    """Give what an act may be about: of profiles those that stand, the same with the least time, and a plain one."""
    if act is not Act.PROFILE_SET:
        yield None
        return
    for profile in authority.profiles.values():
        yield profile
        yield replace(profile, lifetime=_LEAST, horizon=_LEAST)
    subjects = (f"spiffe://{authority.founding.trust_domain}/*",)
    yield Profile("any", Kind.ACCESS, ("https://any.example",), (), subjects, _LEAST, _LEAST, 1, False, False)


def evolve_set(authority: Authority, event: Event) -> Authority:
    """Fold `policy.set`."""
    return replace(authority, policy=Record(event, "policy.set").digest("text"))
