"""Terms: what a person away from the appliance has to know to ask there and to approve (rule R9).

They are not signed and need not be. Whoever approves on false terms names other hashes than those that stand at the
appliance, and the approval is void.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from coldcred import names
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from coldcred.profile import Profile
from coldcred.record import Record

KIND = "coldcred-terms"
MAX_POLICY = 32 * 1024
"""Most characters of a policy's text."""
MAX_TERMS = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs with a key: a person, or a workload by its SPIFFE ID."""

    id: str
    key: PublicKey


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms at `time` (Unix seconds): `policy` is the SHA-256 of its text, `signers` are by thumbprint.

    `policy_text` is that text, where somebody is to see what another one would change.
    """

    appliance: str
    name: str
    trust_domain: str
    epoch: int
    time: int
    policy: str
    profiles: tuple[Profile, ...]
    signers: Mapping[str, Signer]
    policy_text: str | None = None

    @classmethod
    def read(cls, record: Record) -> Self:
        """Read terms strictly; raises `Malformed`."""
        record.version()
        if record.text("kind") != KIND:
            raise Malformed(f"these are no {KIND}")
        domain = names.trust_domain(record.text("trust_domain"))
        terms = cls(
            appliance=record.digest("appliance"),
            name=names.label(record.text("name"), "appliance name"),
            trust_domain=domain,
            epoch=record.integer("epoch", least=1),
            time=record.time("time"),
            policy=record.digest("policy"),
            profiles=tuple(Profile.read(item, domain) for item in record.records("profiles")),
            signers=MappingProxyType(
                {signer.key.thumbprint: signer for signer in map(_signer, record.records("signers"))}
            ),
            policy_text=record.optional_text("policy_text", max_chars=MAX_POLICY),
        )
        record.done()
        if terms.policy_text is not None and sha256_hex(terms.policy_text.encode()) != terms.policy:
            raise Malformed("the text of the policy is not the one that the terms name")
        return terms

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a file of terms."""
        return cls.read(Record.of(loads(body, max_bytes=MAX_TERMS), "terms"))

    def as_json(self) -> dict[str, Json]:
        """Give them as they are written."""
        text: dict[str, Json] = {} if self.policy_text is None else {"policy_text": self.policy_text}
        return {
            **text,
            "v": 1,
            "kind": KIND,
            "appliance": self.appliance,
            "name": self.name,
            "trust_domain": self.trust_domain,
            "epoch": self.epoch,
            "time": self.time,
            "policy": self.policy,
            "profiles": [profile.as_json() for profile in self.profiles],
            "signers": [{"id": signer.id, "key": {**signer.key.jwk()}} for signer in self.signers.values()],
        }

    def write(self) -> bytes:
        """Give the bytes of a file of terms."""
        return dumps(self.as_json()) + b"\n"

    def key_of(self, kid: str) -> PublicKey | None:
        """Give the key with this thumbprint, of a person or of a workload."""
        signer = self.signers.get(kid)
        return signer.key if signer else None


def _signer(record: Record) -> Signer:
    text = record.text("id")
    who = names.spiffe_id(text) if names.is_spiffe_id(text) else names.label(text, "person id")
    signer = Signer(who, PublicKey.from_jwk(record.value("key")))
    record.done()
    return signer
