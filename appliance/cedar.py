"""Policies in Cedar: read once, held to the schema, asked with the few entities that a question is about.

A question is refused unless a policy permits it, and a policy that forbids wins. One that cannot be evaluated, say
because a sum is too large, forbids too: Cedar alone would pass over it.
"""

import json
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import cedarpy

from appliance import policyschema
from appliance.policyschema import APPLIANCE, PERSON, PROFILE, WORKLOAD
from appliance.policytext import PolicyInvalid, Statement, statements
from coldcred import names
from coldcred.acts import BEYOND_POLICY, Act, Principal
from coldcred.canonical import Json, sha256_hex
from coldcred.errors import Malformed
from coldcred.profile import Profile

REMEMBERED = 4096
"""Rulings that one set of policies remembers. A ruling follows from whole values, so none of them grows old."""

STACK = 64 * 1024 * 1024
"""Bytes of the stack on which a text is read. One of `policytext.MAX_WORDS` needs less than an eighth of them."""

_NUMBERED = re.compile(r"policy([0-9]+)")
_ACTION = "Action"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What policies say to one question: `policies` are the ids of those that decided, in the order of the text.

    None decided where nothing permits. `fault` is there where one of them could not be evaluated.
    """

    allowed: bool
    policies: tuple[str, ...]
    fault: str | None = None

    def rule(self, digest: str) -> str:
        """Name what stands behind a refusal, under the policy text with this digest."""
        return f"policy {self.policies[0]}" if self.policies else f"policy {digest[:12]}: no permit"


class PolicySet:
    """The policies of one text; `digest` is the SHA-256 (hex) of its exact bytes."""

    def __init__(self, digest: str, ids: tuple[str, ...], policies: cedarpy.PolicySet, schema: cedarpy.Schema) -> None:
        """Take what `parse` found to be good."""
        self.digest = digest
        self.ids = ids
        self._policies = policies
        self._schema = schema
        self._rulings: dict[tuple[Principal, Act, Profile | None], Ruling] = {}

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a text and hold it to the schema; raises `PolicyInvalid`, with Cedar's own words where it has some.

        Cedar calls itself for each level of an expression, and counts its levels afterwards. So it reads on a stack
        whose size is ours and not that of whoever started this program.
        """
        threading.stack_size(STACK)  # of all threads from here on: only what is used of it costs memory
        with ThreadPoolExecutor(1, "cedar") as reader:
            return reader.submit(cls._parse, body).result()

    @classmethod
    def _parse(cls, body: bytes) -> Self:
        found = statements(body)
        text = body.decode("ascii")
        try:
            policies = cedarpy.PolicySet.from_str(text)
            nodes = policies.to_pst()
        except ValueError as error:
            raise _unread(found, str(error)) from error
        if nodes.templates:
            raise PolicyInvalid("a template, with slots to be filled; policies here name what they are about")
        ids = _ids(nodes.static_policies, found)
        _check_actions(nodes.static_policies, found)
        schema = cedarpy.Schema.from_str(policyschema.schema())
        for fault in cedarpy.validate_policies(text, schema).errors:
            raise _invalid(ids, found, fault.policy_id, fault.error)
        return cls(sha256_hex(body), ids, policies, schema)

    def ruling(self, principal: Principal, act: Act, profile: Profile | None = None) -> Ruling:
        """Say whether `principal` may ask for `act`, about `profile` where the act is about one.

        An act that no policy is asked about, or a profile with an act that is about none, is the caller's mistake
        (`ValueError`).
        """
        if act in BEYOND_POLICY or (profile is None) is (act in policyschema.ABOUT_PROFILES):
            raise ValueError(f"policies are not asked about {act} in this way")
        question = (principal, act, profile)
        found = self._rulings.get(question)
        if found is None:
            found = self._ask(principal, act, profile)
            if len(self._rulings) >= REMEMBERED:
                self._rulings.clear()
            self._rulings[question] = found
        return found

    def _ask(self, principal: Principal, act: Act, profile: Profile | None) -> Ruling:
        """Ask Cedar, which takes as long as a signature is verified in."""
        who, about = _principal(principal), _resource(profile)
        asked = {"principal": who["uid"], "action": _uid(_ACTION, act.value), "resource": about["uid"], "context": {}}
        answer = cedarpy.is_authorized(asked, self._policies, json.dumps([who, about]), self._schema)
        told = answer.diagnostics
        if told.errors or answer.decision is cedarpy.Decision.NoDecision:
            return Ruling(False, self._named(told.errors[:1]), (told.errors or ["no decision"])[0])
        return Ruling(answer.allowed, self._named(told.reasons))

    def _named(self, texts: list[str]) -> tuple[str, ...]:
        """Give the ids of the policies that these texts name by their places, in the order of the text."""
        places = {int(found[1]) for text in texts for found in _NUMBERED.finditer(text)}
        return tuple(self.ids[place] for place in sorted(places) if place < len(self.ids))


def _uid(kind: str, name: str) -> dict[str, Json]:
    return {"type": kind, "id": name}


def _entity(kind: str, name: str, attributes: dict[str, Json]) -> dict[str, Json]:
    return {"uid": _uid(kind, name), "attrs": attributes, "parents": []}


def _principal(principal: Principal) -> dict[str, Json]:
    if principal.is_workload:
        return _entity(WORKLOAD, principal.id, {"groups": [*principal.groups], "owner": principal.owner or ""})
    return _entity(PERSON, principal.id, {"roles": [role.value for role in sorted(principal.roles)]})


def _resource(profile: Profile | None) -> dict[str, Json]:
    if profile is None:
        return _entity(APPLIANCE, "this", {})
    return _entity(PROFILE, profile.name, policyschema.profile_attributes(profile))


def _ids(policies: Mapping[str, cedarpy.pst.Template], found: tuple[Statement, ...]) -> tuple[str, ...]:
    """Give the id of each policy, in the order of the text; every one has its own."""
    ids: list[str] = []
    for place, statement in enumerate(found):
        name = policies[f"policy{place}"].annotations.get("id")
        if not name:
            raise PolicyInvalid('a policy without an id; begin it with @id("a-name")', statement.line)
        try:
            names.label(name, "policy id")
        except Malformed as error:
            raise PolicyInvalid(str(error), statement.line) from error
        if name in ids:
            raise PolicyInvalid(f"a second policy with id {name}", statement.line)
        ids.append(name)
    return tuple(ids)


def _check_actions(policies: Mapping[str, cedarpy.pst.Template], found: tuple[Statement, ...]) -> None:
    """Refuse a policy that speaks of an act that no policy is asked about, in plainer words than Cedar's."""
    beyond = {act.value for act in BEYOND_POLICY}
    for place, statement in enumerate(found):
        for uid in cedarpy.pst.entity_uids(policies[f"policy{place}"]):
            if uid.type.basename == _ACTION and uid.id in beyond:
                detail = f"no policy is asked about {uid.id}: nothing may slow it"
                raise PolicyInvalid(detail, statement.line)


def _unread(found: tuple[Statement, ...], said: str) -> PolicyInvalid:
    """Say what Cedar said of the first policy that it cannot read alone; it names no line itself."""
    for statement in found:
        try:
            cedarpy.PolicySet.from_str(statement.text).to_pst()
        except ValueError as error:
            return PolicyInvalid(f"Cedar: {error}", statement.line)
    return PolicyInvalid(f"Cedar: {said}")


def _invalid(ids: tuple[str, ...], found: tuple[Statement, ...], policy: str, said: str) -> PolicyInvalid:
    numbered = _NUMBERED.fullmatch(policy)
    if numbered is None:
        return PolicyInvalid(f"Cedar: {said}")
    place = int(numbered[1])
    plain = said.removeprefix(f"for policy `{policy}`, ")
    return PolicyInvalid(f"policy {ids[place]}: Cedar: {plain}", found[place].line)
