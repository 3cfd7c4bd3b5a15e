"""What a policy or a profile would change for everything now alive, said before anybody sets it.

Pure: it reads what stands and decides nothing. Policies are asked about every person and workload, and each act and
profile that is meant, under what stands and under what is to come; what differs is told with the policy that decides.
It is worked out in small steps, since that may take a while and nobody is to wait for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from appliance import policy
from appliance.authority import Authority, Workload
from appliance.cedar import PolicySet
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import policies
from appliance.policyschema import ABOUT_PROFILES, ASKED
from appliance.rules import rule_of
from appliance.turns import Steps
from coldcred import names
from coldcred.acts import RULES, Act, Principal
from coldcred.canonical import Json
from coldcred.errors import Malformed
from coldcred.log.live import By, Issued, Selector
from coldcred.profile import Profile, digest_of
from coldcred.record import Record

MOST_QUESTIONS = 10_000
"""Questions to policies after which no more workloads are asked about; the preview says how many were."""

MOST_CHANGES = 500
"""Changes that are listed; the number of all of them is said beside."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes allowed or forbidden to somebody, and which policies, or which other rule, decide it then."""

    who: str
    act: Act
    profile: str | None
    allowed: bool
    by: str

    def as_json(self) -> dict[str, Json]:
        """Give it as the view has it."""
        return {
            "who": self.who,
            "act": self.act.value,
            "profile": self.profile,
            "becomes": "allowed" if self.allowed else "forbidden",
            "by": self.by,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked to be previewed: a policy, or a profile; exactly one of them."""

    policy: PolicySet | None = None
    profile: Profile | None = None


def read(authority: Authority, act: str, args: Record, attachments: Mapping[str, bytes]) -> Asked:
    """Read what a command for `act` would set, of which a policy takes a while; `Refused` as its decision would."""
    try:
        match act:
            case Act.POLICY_SET:
                return Asked(policy=policies.read_text(args, attachments))
            case Act.PROFILE_SET:
                profile = Profile.read(args.record("profile"), authority.founding.trust_domain)
                args.done()
                return Asked(profile=profile)
            case _:
                raise Refused(Refusal.MALFORMED, f"there is a preview of {Act.POLICY_SET} and {Act.PROFILE_SET} only")
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


def preview(authority: Authority, lookups: Lookups, old: PolicySet, asked: Asked, now: int) -> Steps[Json]:
    """Say, in steps, what setting that would change; raises `Refused` as its decision would."""
    if asked.policy is not None:
        found = yield from _policy_changes(authority, old, asked.policy)
        return {"act": Act.POLICY_SET.value, "policy": asked.policy.digest, **found}
    if asked.profile is None:
        raise ValueError("neither a policy nor a profile")
    found = yield from _profile_changes(authority, lookups, old, asked.profile, now)
    return {"act": Act.PROFILE_SET.value, "profile": asked.profile.name, **found}


@dataclass(slots=True)
class Comparison:
    """Two states held against each other: what stands, and what is to come, each with the policies in force then.

    Policies are asked about `acts`, and where these are about profiles about those with `names`. `workloads` counts
    the workloads that were asked about so far.
    """

    before: Authority
    old: PolicySet
    after: Authority
    new: PolicySet
    acts: tuple[Act, ...]
    names: tuple[str, ...]
    workloads: int = 0
    _questions: int = 0

    @classmethod
    def of_policies(cls, authority: Authority, old: PolicySet, new: PolicySet) -> "Comparison":
        """Compare two policies, for every act and profile."""
        return cls(authority, old, authority, new, ASKED, tuple(sorted(authority.profiles)))

    @classmethod
    def of_profile(cls, authority: Authority, policies_: PolicySet, profile: Profile) -> "Comparison":
        """Compare what stands with a profile that is set, for that profile alone."""
        after = replace(authority, profiles={**authority.profiles, profile.name: profile})
        acts = tuple(act for act in ASKED if act in ABOUT_PROFILES)
        return cls(authority, policies_, after, policies_, acts, (profile.name,))

    def changes(self) -> Iterator[Change | None]:
        """Yield what differs, for everybody who is enrolled, and None after each question, where others may go first.

        People are all asked about, then workloads by name, until `MOST_QUESTIONS` were asked.
        """
        for asking in _people(self.before):
            yield from self._of(asking)
        for name in sorted(self.before.workloads):
            if self._questions >= MOST_QUESTIONS:
                return
            yield from self._of(policy.principal(self.before.workloads[name]))
            self.workloads += 1

    def _of(self, asking: Principal) -> Iterator[Change | None]:
        for act in self.acts:
            if asking.is_workload and not RULES[act].workloads:
                continue
            for name in self.names if act in ABOUT_PROFILES else (None,):
                was = _verdict(self.old, asking, act, name, self.before)
                becomes = _verdict(self.new, asking, act, name, self.after)
                self._questions += 1
                yield Change(asking.id, act, name, *becomes) if was[0] != becomes[0] else None


def _people(authority: Authority) -> list[Principal]:
    people = {one.person: Principal(one.person, one.roles) for one in authority.operators.values()}
    return [people[name] for name in sorted(people)]


def _verdict(
    policies_: PolicySet, asking: Principal, act: Act, profile: str | None, authority: Authority
) -> tuple[bool, str]:
    """Say whether table, profile and policies let somebody ask, and what decides it."""
    about = None if profile is None else authority.profiles.get(profile)
    if profile is not None and about is None:
        return False, "there is no such profile"
    if not RULES[act].admits(asking):
        return False, "R2 who may ask"
    if about is not None and act is Act.CREDENTIAL_ISSUE:
        try:
            policy.check_asker(asking, about)
        except Refused as refused:
            return False, rule_of(refused)
    ruling = policies_.ruling(asking, act, about)
    return ruling.allowed, f"policy {', '.join(ruling.policies)}" if ruling.allowed else ruling.rule(policies_.digest)


def _policy_changes(authority: Authority, old: PolicySet, new: PolicySet) -> Steps[dict[str, Json]]:
    policies.check_new(authority, new)
    for found in policies.looked_over(authority, new):
        if found is not None:
            raise policies.locked_out(found[1])
        yield
    told = yield from _told(Comparison.of_policies(authority, old, new))
    return {"replaces": old.digest, **told}


def _told(comparison: Comparison) -> Steps[dict[str, Json]]:
    """List the first changes, and count them all."""
    listed: list[Json] = []
    count = 0
    for change in comparison.changes():
        if change is not None:
            count += 1
            if len(listed) < MOST_CHANGES:
                listed.append(change.as_json())
        yield
    everybody = len(comparison.before.workloads)
    return {
        "changes": listed,
        "all_changes": count,
        "workloads": {"asked": comparison.workloads, "all": everybody},
    }


def _profile_changes(
    authority: Authority, lookups: Lookups, old: PolicySet, profile: Profile, now: int
) -> Steps[dict[str, Json]]:
    before = authority.profiles.get(profile.name)
    live = yield from _live(authority, lookups, profile, now)
    losing = yield from _losing(authority, before, profile)
    told = yield from _told(Comparison.of_profile(authority, old, profile))
    return {
        "replaces": None if before is None else digest_of([before]),
        **live,
        "narrowed": [] if before is None else [*_narrowed(before, profile)],
        "losing": losing,
        **told,
    }


def _live(authority: Authority, lookups: Lookups, profile: Profile, now: int) -> Steps[dict[str, Json]]:
    """Count what lives under the profile, and what of it would be outside; what ends meanwhile counts or does not."""
    sites = {site.name for site in authority.sites.values() if set(site.audiences) & set(profile.audiences)}
    count, ends = 0, []
    for jti in lookups.live.matching(Selector(By.PROFILE, profile.name)):
        issued = lookups.live.by_jti.get(jti)
        if issued is not None and issued.expires_at > now:
            count += 1
            if not _fits(authority, profile, issued, sites, now):
                ends.append(issued.expires_at)
        yield
    outside: dict[str, Json] = {
        "count": len(ends),
        "first_end": min(ends, default=None),
        "last_end": max(ends, default=None),
    }
    return {"live": count, "outside": outside}


def _fits(authority: Authority, profile: Profile, issued: Issued, sites: set[str], now: int) -> bool:
    """Whether a live credential is of a workload, for a site and for no longer than the profile allows.

    The log does not keep scopes and audiences of what it issued in memory; that they were narrowed is said apart.
    """
    workload = authority.workloads.get(issued.workload)
    subject = any(names.matches(pattern, issued.workload) for pattern in profile.subjects)
    grouped = not profile.groups or (workload is not None and _in_groups(profile, workload))
    return subject and grouped and issued.site in sites and issued.expires_at - now <= profile.lifetime


def _in_groups(profile: Profile, workload: Workload) -> bool:
    return not profile.groups or bool(set(profile.groups) & set(workload.groups))


def _admits(profile: Profile, workload: Workload) -> bool:
    return any(names.matches(pattern, workload.id) for pattern in profile.subjects) and _in_groups(profile, workload)


def _narrowed(before: Profile, after: Profile) -> Iterator[str]:
    """Name the bounds that become narrower."""
    for name in ("audiences", "scopes", "subjects", "asked_by"):
        if set(getattr(before, name)) - set(getattr(after, name)):
            yield name
    yield from (name for name in ("lifetime", "horizon") if getattr(after, name) < getattr(before, name))
    if after.approvals > before.approvals:
        yield "approvals"
    if after.groups and (not before.groups or set(before.groups) - set(after.groups)):
        yield "groups"
    if set(after.requires) - set(before.requires):
        yield "requires"
    yield from (name for name in ("holder_binding", "refuse_stale") if getattr(after, name) > getattr(before, name))
    if after.kind is not before.kind:
        yield "kind"


def _losing(authority: Authority, before: Profile | None, after: Profile) -> Steps[dict[str, Json]]:
    """Count the enrolled workloads that the profile is for now and would not be for; the first hundred by name."""
    lost: list[str] = []
    for workload in authority.workloads.values() if before is not None else ():
        if before is not None and _admits(before, workload) and not _admits(after, workload):
            lost.append(workload.id)
        yield
    return {"count": len(lost), "workloads": [*sorted(lost)[:100]]}
