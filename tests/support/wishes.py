"""For every act, arguments with which it can be carried out in an appliance that knows the worked example's people."""

import dataclasses

from coldcred.canonical import Json, sha256_hex
from coldcred.policy import DEFAULT
from tests.support import plant
from tests.support.plain_table import DAY, RECOVER
from tests.support.running import RunningPlant
from tests.support.signers import Signer

SPARE = f"{plant.WORKLOAD}0"
"""A second workload, which nobody needs."""


@dataclasses.dataclass
class Wish:
    """What is asked for, and what travels beside it."""

    args: dict[str, Json]
    beside: dict[str, bytes] = dataclasses.field(default_factory=dict)


class Wishes:
    """Makes arguments that can be carried out, each time anew."""

    def __init__(self, running: RunningPlant) -> None:
        """Begin to count names."""
        self.running = running
        self.number = 0

    def good(self, act: str) -> Wish:
        """Give what can be carried out."""
        self.number += 1
        number, now = self.number, self.running.clock.now()
        reason: dict[str, Json] = {"reason": "as told"}
        plain: dict[str, dict[str, Json]] = {
            "credential.issue": self.running.issue_args(),
            "credential.revoke": {"credential": "c" * 22, **reason},
            "workload.enrol": self.running.enrolment(id=f"{SPARE}-{number}"),
            "profile.set": {"profile": {**plant.profile(), "name": "other", "lifetime": 60 + number}},
            "site.add": {"name": f"site-{number}", "audiences": [f"https://site-{number}.example"]},
            "trust.submit": {"files": {}},
            "bundle.create": {"site": "line-1"},
            "log.export": {},
            "read.open": {},
            "workload.suspend": {"workload": SPARE, **reason},
            "workload.resume": {"workload": SPARE},
            "key.suspend": {"key": "tokens-9", **reason},
            "key.activate": {"key": "tokens-1", **reason},
            "request.withdraw": {"request": "0" * 64},
            "request.complete": {"request": "0" * 64},
            "workload.adopt": {"workload": SPARE, "owner": "alice", **reason},
            "review.start": {"name": f"review-{number}", "until": now + 2 * DAY},
            "review.confirm": {"review": "none", "operators": ["bob"]},
            "review.close": {"review": "none"},
            "operator.remove": {"person": "gail", **reason},
            "operator.roles": {"person": "gail", "roles": ["issuer"], **reason},
        }
        if act in plain:
            return Wish(plain[act])
        if act == "policy.set":
            text = f"// {number}\n{DEFAULT}".encode()
            return Wish({"policy": self.running.keep(text)}, {sha256_hex(text): text})
        whom = {"operator.add": f"new-{number}", "operator.replace-key": "gail", RECOVER: "bob"}[act]
        proof = self.running.countersignature(Signer.named(f"{whom} key {number}"), whom).encode()
        more: dict[str, dict[str, Json]] = {
            "operator.add": {"roles": ["issuer"]},
            "operator.replace-key": {"retires": [], **reason},
            RECOVER: {"replaces": "bob", **reason},
        }
        return Wish(
            {"person": whom, "countersignature": self.running.keep(proof), **more[act]}, {sha256_hex(proof): proof}
        )
