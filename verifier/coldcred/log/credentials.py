"""Credentials in the log: issued once each, to an index that nobody had before, and revoked as people asked (rule R23).

Kept in memory while they live, so that what an entry says it revokes can be counted.
"""

from collections.abc import Iterable, Mapping

from coldcred.command import Command
from coldcred.credential import Credential
from coldcred.errors import LogReason, LogRejected
from coldcred.log.combinations import Holdings, Kin
from coldcred.log.live import Issued, Live, Selector, tally
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.status import SIZE, IndexSet


class Credentials:
    """What lives, and every status index that was given out, as far as the log has been read."""

    def __init__(self) -> None:
        """Begin before the first credential."""
        self._live = Live()
        self._used: dict[str, IndexSet] = {}
        self._intents: dict[int, list[str]] = {}

    def issued(self, jti: str, issued: Issued) -> None:
        """Take a credential that its entry announces; its jti and its index are its own."""
        if not self._live.add(jti, issued):
            raise _bad(f"issues a second credential {jti[:64]!a}")
        if issued.index >= SIZE or not self._used.setdefault(issued.list_uri, IndexSet()).add(issued.index):
            raise _bad(f"gives out index {issued.index} of {issued.list_uri}, which is not free")
        self._intents.setdefault(issued.seq, []).append(jti)

    def holdings(self, profiles: Mapping[str, Profile], kin: Kin, as_of: int) -> Holdings:
        """Give who holds what at a moment."""
        return Holdings(profiles, self._live, kin, as_of)

    def check_combination(self, held: Holdings, credential: Credential) -> None:
        """Return when a credential may be held beside what is, which it is from now on."""
        if (found := held.conflict(credential.subject, credential.profile)) is not None:
            raise _bad(f"issues under {credential.profile} beside {found.held}, and {found.pair}")
        held.add(credential.subject, credential.profile)

    def settled(self, seq: int, *, signed: bool) -> None:
        """Take the outcome of an entry: what was not signed, or not seen to be, is revoked by that."""
        for jti in self._intents.pop(seq, ()):
            if not signed:
                self._live.revoke(jti)

    def revoked(
        self, event: Record, command: Command, before: int, time: int, next_bundle: int, at: int | None
    ) -> None:
        """Take `credential.revoked`: as many as live under its selector, between the entry before (`before`) and now.

        `next_bundle` is the number that the next bundle will have; `at` is this entry, where what it revokes is held
        until its site can know.
        """
        asked = Record(command.args, "credential.revoke")
        selector = Selector.read(asked)
        if event.value("selector") != selector.as_json():
            raise _other("selector")
        if event.value("reason") != asked.value("reason"):
            raise _other("reason")
        as_of = event.time("as_of")
        if not before <= as_of <= time:
            raise _bad(f"revokes what lived at {as_of}, which is not the time of this entry")
        found = list(self._live.select(selector, as_of))
        told = tally(issued for _, issued in found)
        expected = {"selector": selector.as_json(), **told, "next_bundle": next_bundle}
        if not found or event.value("result") != expected:
            raise _bad(f"says that it revokes something else than the {len(found)} that live under {selector}")
        for jti, _ in found:
            self._live.revoke(jti, at)

    def told(self, lists: Iterable[str], begun: int) -> None:
        """Take note that a bundle with these status lists was signed, which entry `begun` began."""
        self._live.told(lists, begun)

    def replaced(self, jtis: Iterable[str], at: int | None) -> None:
        """Take what a batch that goes on issues anew: each lived until now, and is revoked (rule R8)."""
        for jti in jtis:
            if self._live.revoke(jti, at) is None:
                raise _bad(f"replaces credential {jti[:64]!a}, which does not live")

    def advance(self, time: int) -> None:
        """Forget what has ended, after an entry of this time was read."""
        self._live.advance(time)


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)


def _other(what: str) -> LogRejected:
    return _bad(f"its {what} is not what the signed command asks for")
