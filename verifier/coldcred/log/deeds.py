"""What carrying out a command may write: the entry says what the signed command asked for, and nothing else.

A compromised engine can write any entry, but not a person's signature; so what an entry grants is held, member by
member, to the arguments that the person signed. Whether policy allowed it is another question (rule R35).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from sys import intern

from coldcred.canonical import Json
from coldcred.charter import TokenCharter
from coldcred.command import Command
from coldcred.credential import Credential, StatusReference
from coldcred.enrolment import Enrolment, parse_enrolment
from coldcred.errors import BadSignature, CharterExceeded, LogReason, LogRejected, Malformed
from coldcred.founding import read_site
from coldcred.keys import PublicKey, SealingKey
from coldcred.log.approvals import TOLERANCE
from coldcred.log.blobs import Blobs
from coldcred.log.live import Issued
from coldcred.log.signing import LoggedKey
from coldcred.profile import Profile
from coldcred.record import Record


def read_issued(event: Record, command: Command, profile: Profile, *, issuer: str) -> Credential:
    """Take the members of `credential.issued`, which are those that the command asked for."""
    asked = Record(command.args, "credential.issue")
    if asked.text("profile") != event.text("profile"):
        raise _other("profile")
    _check_same(event, asked, ("workload", "audience"))
    scopes = event.texts("scopes")
    if scopes != (asked.optional_texts("scopes") or ()):
        raise _other("scopes")
    site = event.text("site")
    result = event.record("result")
    status = result.record("status")
    credential = Credential(
        kind=profile.kind,
        issuer=issuer,
        subject=str(command.args["workload"]),
        audiences=(str(command.args["audience"]),),
        scopes=scopes,
        jti=result.text("jti"),
        issued_at=result.time("iat"),
        not_before=result.time("nbf"),
        expires_at=result.time("exp"),
        status=StatusReference(status.text("uri"), status.integer("idx")),
        log_index=result.integer("log"),
        profile=profile.name,
    )
    status.done()
    lifetime = asked.optional_integer("ttl")
    if lifetime is not None and credential.expires_at - credential.not_before > lifetime:
        raise _other("lifetime")
    if result.text("site") != site:
        raise _other("site")
    result.done()
    return credential


def remembered(credential: Credential, *, kid: str, site: str) -> Issued:
    """Give what is remembered of a credential while it lives."""
    return Issued(
        seq=credential.log_index,
        list_uri=intern(credential.status.uri),
        index=credential.status.index,
        expires_at=credential.expires_at,
        workload=intern(credential.subject),
        profile=intern(credential.profile),
        kid=intern(kid),
        site=intern(site),
        issued_at=credential.issued_at,
    )


def check_issued(credential: Credential, key: LoggedKey, *, seq: int, time: int) -> None:
    """Hold a credential to its entry, and to the validity and the charter of the key that was to sign it."""
    if credential.log_index != seq or abs(credential.issued_at - time) > TOLERANCE:
        raise LogRejected(LogReason.BAD_COMMAND, "issues a credential for another entry or another time")
    if not key.not_before <= credential.not_before < credential.expires_at <= key.not_after:
        raise LogRejected(LogReason.WRONG_KEY, f"issues a credential for longer than key {key.name} is valid")
    try:
        if isinstance(key.charter, TokenCharter):
            key.charter.check(credential)
    except CharterExceeded as error:
        raise LogRejected(LogReason.WRONG_KEY, str(error)) from error


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A workload as an entry enrols it, with the keys that it proved to hold."""

    workload: str
    review_by: int
    owner: str
    key: PublicKey | None = None
    seal: SealingKey | None = None


def enrolled(event: Record, command: Command, blobs: Blobs, time: int) -> Enrolled:
    """Take `workload.enrolled`: its keys are those of the enrolment document that the people signed for."""
    workload, asked = event.record("workload"), Record(command.args, "workload.enrol")
    review_by = workload.time("review_by")
    if review_by != asked.time("review_by"):
        raise _other("review_by")
    _check_same(workload, asked, ("id", "owner"))
    for name in ("groups", "enrolment"):
        if asked.has(name) or workload.has(name):
            _check_same(workload, asked, (name,))
    asked.done()
    name, owner = str(command.args["id"]), str(command.args["owner"])
    found = Enrolled(name, review_by, owner)
    if "enrolment" in command.args:
        proof = _proved(Record(command.args, "workload.enrol").digest("enrolment"), command, blobs, time)
        found = Enrolled(name, review_by, owner, proof.key, proof.seal)
    for member, key in (("key", found.key), ("seal", found.seal)):
        told = workload.value(member) if workload.has(member) else None
        if told != (key.jwk() if key is not None else None):
            raise _other(member)
    workload.done()
    _check_result(event, {"workload": name})
    return found


def _proved(digest: str, command: Command, blobs: Blobs, time: int) -> Enrolment:
    """Read an enrolment document again, and hold it to the workload, the appliance and the time of its entry."""
    try:
        proof = parse_enrolment(blobs.read(digest).decode("ascii"))
    except (BadSignature, Malformed, UnicodeDecodeError) as error:
        raise LogRejected(LogReason.BAD_COMMAND, f"its enrolment document: {error}") from error
    if (proof.appliance, proof.workload) != (command.appliance, command.args["id"]):
        raise LogRejected(LogReason.BAD_COMMAND, "its enrolment document is for another appliance or workload")
    if not proof.issued_at - TOLERANCE <= time < proof.expires_at + TOLERANCE:
        raise LogRejected(LogReason.BAD_COMMAND, "its enrolment document is of another time")
    return proof


def suspended(event: Record, command: Command) -> str:
    """Take `workload.suspended` and give the workload."""
    _check_same(event, Record(command.args, "workload.suspend"), ("workload", "reason"))
    _check_result(event, {"workload": command.args["workload"]})
    return str(command.args["workload"])


def resumed(event: Record, command: Command) -> str:
    """Take `workload.resumed` and give the workload."""
    _check_same(event, Record(command.args, "workload.resume"), ("workload",))
    _check_result(event, {"workload": command.args["workload"]})
    return str(command.args["workload"])


def adopted(event: Record, command: Command) -> tuple[str, str]:
    """Take `workload.adopted` and give the workload and its new owner, who signed for it."""
    _check_same(event, Record(command.args, command.act), ("workload", "owner", "reason"))
    workload, owner = str(command.args["workload"]), str(command.args["owner"])
    _check_result(event, {"owner": owner, "workload": workload})
    return workload, owner


def profile_set(event: Record, command: Command, domain: str) -> Profile:
    """Take `profile.set` and give the profile; subjects lie in trust domain `domain`."""
    profile = Profile.read(Record(command.args, "profile.set").record("profile"), domain)
    if event.value("profile") != profile.as_json():
        raise _other("profile")
    _check_result(event, {"profile": profile.name})
    return profile


def policy_set(event: Record, command: Command, blobs: Blobs) -> str:
    """Take `policy.set` and give the SHA-256 of the text, which the export holds."""
    digest = event.digest("text")
    if digest != command.args.get("policy"):
        raise _other("text")
    blobs.read(digest)
    _check_result(event, {"policy": digest})
    return digest


def site_added(event: Record, command: Command) -> None:
    """Take `site.added`."""
    site = event.value("site")
    if site != command.args:
        raise _other("site")
    name = read_site(Record.of(site, "site")).name
    _check_result(event, {"site": name})


def trust_submitted(event: Record, command: Command, blobs: Blobs) -> None:
    """Take `trust.submitted`: the files are those that the command names, and the export holds every one."""
    files = event.value("files")
    if files != command.args.get("files"):
        raise _other("files")
    digests = Record.of(files, "files")
    for name in Record.of(files, "files").members():
        blobs.read(digests.digest(name))
    versions: dict[str, Json] = {name: event.integer(name, least=1) for name in ("root_version", "targets_version")}
    event.array("windows", least=1)
    event.time("end")
    _check_result(event, versions)


def key_named(event: Record, command: Command) -> str:
    """Take `key.suspended` or `key.activated`, and give the key's name."""
    _check_same(event, Record(command.args, command.act), ("key", "reason"))
    name = Record(command.args, command.act).text("key")
    _check_result(event, {"key": name})
    return name


def exported(event: Record, seq: int, newest: int) -> None:
    """Take `log.exported`: the export reaches up to this entry, or further, or to the `newest` signed checkpoint."""
    result = event.value("result")
    if result != {"size": seq + 1} and (not newest or result != {"size": newest}):
        raise _other("result")


def reading_opened(event: Record) -> None:
    """Take `reading.opened`."""
    _check_result(event, {})


def _check_same(event: Record, asked: Record, names: Iterable[str]) -> None:
    for name in names:
        if event.value(name) != asked.value(name):
            raise _other(name)


def _check_result(event: Record, expected: dict[str, Json]) -> None:
    if event.value("result") != expected:
        raise _other("result")


def _other(what: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, f"its {what} is not what the signed command asks for")
