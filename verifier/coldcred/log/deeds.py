"""What carrying out a command may write: the entry says what the signed command asked for, and nothing else.

A compromised engine can write any entry, but not a person's signature; so what an entry grants is held, member by
member, to the arguments that the person signed. Whether policy allowed it is another question (rule R35).
"""

from collections.abc import Iterable

from coldcred.canonical import Json
from coldcred.charter import TokenCharter
from coldcred.command import Command
from coldcred.credential import Credential, StatusReference
from coldcred.errors import CharterExceeded, LogReason, LogRejected
from coldcred.founding import read_site
from coldcred.keys import PublicKey
from coldcred.log.blobs import Blobs
from coldcred.log.people import TOLERANCE
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


def revoked(event: Record, command: Command, seq: int) -> None:
    """Take `credential.revoked`."""
    _check_same(event, Record(command.args, "credential.revoke"), ("credential", "reason"))
    result = event.record("result")
    result.time("exp")
    if result.text("credential") != command.args["credential"] or result.integer("log") >= seq:
        raise _other("credential")
    result.done()


def enrolled(event: Record, command: Command) -> tuple[str, PublicKey | None]:
    """Take `workload.enrolled`, and give the workload's id and key.

    The command may write the key with members that the entry leaves out.
    """
    key = PublicKey.from_jwk(command.args["key"]) if "key" in command.args else None
    workload, asked = event.record("workload"), Record(command.args, "workload.enrol")
    _check_same(workload, asked, ("id", "owner", "review_by"))
    if workload.has("key") != asked.has("key"):
        raise _other("key")
    if key is not None and workload.value("key") != key.jwk():
        raise _other("key")
    workload.done()
    _check_result(event, {"workload": command.args["id"]})
    return str(command.args["id"]), key


def profile_set(event: Record, command: Command, domain: str) -> Profile:
    """Take `profile.set` and give the profile; subjects lie in trust domain `domain`."""
    value = event.value("profile")
    if value != command.args.get("profile"):
        raise _other("profile")
    profile = Profile.read(Record.of(value, "profile"), domain)
    _check_result(event, {"profile": profile.name})
    return profile


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


def exported(event: Record, seq: int) -> None:
    """Take `log.exported`: the export reaches up to this entry, or further."""
    _check_result(event, {"size": seq + 1})


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
