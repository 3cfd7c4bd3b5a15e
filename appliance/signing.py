"""Signing commands and approvals with a person's own key; needs no appliance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from appliance.identity import Identity
from coldcred.canonical import Json, b64u_encode
from coldcred.command import Verdict, approval_claims, command_claims
from coldcred.jose import Typ, assemble, signing_input
from coldcred.requests import DraftFile, Seen

COMMAND_LIFE = 24 * 3600
JTI_BYTES = 16

Clock: TypeAlias = Callable[[], int]
Random: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Signing:
    """A person's opened key; `clock` gives Unix seconds, `random` that many random bytes."""

    identity: Identity
    clock: Clock
    random: Random

    def command(self, draft: DraftFile) -> str:
        """Sign what a draft asks for, to be carried out from now on for as long as it says."""
        now = self.clock()
        claims = command_claims(
            appliance=draft.appliance,
            epoch=draft.epoch,
            act=draft.act,
            args=draft.args,
            jti=b64u_encode(self.random(JTI_BYTES)),
            issued_at=now,
            expires_at=now + draft.life,
        )
        return self._sign(Typ.COMMAND, claims)

    def approval(self, seen: Seen, verdict: Verdict, life: int = COMMAND_LIFE, reason: str | None = None) -> str:
        """Sign an approval or a denial of a request that was seen; it counts for `life` seconds from now."""
        now = self.clock()
        claims = approval_claims(
            appliance=seen.command.appliance,
            epoch=seen.command.epoch,
            command=seen.command.id,
            verdict=verdict,
            basis=seen.basis,
            jti=b64u_encode(self.random(JTI_BYTES)),
            issued_at=now,
            expires_at=now + life,
        )
        return self._sign(Typ.APPROVAL, claims if reason is None else {**claims, "reason": reason})

    def _sign(self, typ: Typ, claims: dict[str, Json]) -> str:
        data = signing_input(typ, self.identity.public.algorithm, self.identity.kid, claims)
        return assemble(data, self.identity.sign(data))
