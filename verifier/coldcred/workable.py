"""What a founding can never do: looked for before anybody signs it, since most of it cannot be mended afterwards.

A founding that was signed is read whatever it says (`coldcred.founding.parse`); a new one is held to this as well.
"""

from collections.abc import Iterable
from enum import StrEnum

from coldcred import names
from coldcred.charter import Purpose, TokenCharter
from coldcred.errors import Malformed
from coldcred.founding import Founding
from coldcred.profile import Profile


class Hopeless(StrEnum):
    """Why a founding can never work: closed, documented in docs/format.md."""

    KEY_TOO_SHORT = "founding-key-too-short"
    METADATA_TOO_SHORT = "founding-metadata-too-short"
    NO_KEY_FOR_AUDIENCE = "founding-audience-without-key"
    NO_SITE_FOR_AUDIENCE = "founding-audience-without-site"
    NO_KEY_FOR_KIND = "founding-kind-without-key"
    NO_KEY_FOR_SUBJECT = "founding-subject-without-key"
    LIFETIME_TOO_LONG = "founding-lifetime-too-long"


class UnworkableError(Malformed):
    """A founding that nobody signed yet can never work; `member` is the member of the plan that is at fault."""

    def __init__(self, why: Hopeless, member: str, detail: str) -> None:
        """Name the fault and the member, and say what was found."""
        super().__init__(f"{member}: {detail}")
        self.why = why
        self.member = member

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.why.value


def check(founding: Founding) -> None:
    """Return when nothing stands in the way of a founding's ever issuing what it names, else `UnworkableError`."""
    _check_times(founding)
    charters = [key.charter for key in founding.keys if isinstance(key.charter, TokenCharter)]
    covered = {audience for charter in charters for audience in charter.audiences}
    lived = {audience for site in founding.sites for audience in site.audiences}
    for site in founding.sites:
        check_audiences(f"sites.{site.name}.audiences", site.audiences, covered)
    for profile in founding.profiles:
        for audience in profile.audiences:
            if audience not in lived:
                detail = f"{audience} belongs to no site, so nothing is ever issued for it"
                raise UnworkableError(Hopeless.NO_SITE_FOR_AUDIENCE, f"profiles.{profile.name}.audiences", detail)
        check_profile(profile, charters)


def check_audiences(member: str, audiences: Iterable[str], covered: Iterable[str]) -> None:
    """Refuse an audience that no charter of a key for tokens covers, for charters are fixed (`UnworkableError`)."""
    covered = set(covered)
    for audience in audiences:
        if audience not in covered:
            detail = f"no key's charter covers {audience}, and no charter is widened later"
            raise UnworkableError(Hopeless.NO_KEY_FOR_AUDIENCE, member, detail)


def check_profile(profile: Profile, charters: Iterable[TokenCharter]) -> None:
    """Refuse a profile under which no key could sign for some audience or subject, or for as long (`UnworkableError`).

    A profile may be wider than a charter; what the key does not cover is then refused at each issue.
    """
    where, keys = f"profiles.{profile.name}", [charter for charter in charters if charter.kind is profile.kind]
    if not keys:
        detail = f"no key signs {profile.kind} credentials"
        raise UnworkableError(Hopeless.NO_KEY_FOR_KIND, f"{where}.kind", detail)
    check_audiences(f"{where}.audiences", profile.audiences, {one for key in keys for one in key.audiences})
    patterns = [pattern for key in keys for pattern in key.subjects]
    for subject in profile.subjects:
        if not any(_meet(subject, pattern) for pattern in patterns):
            detail = f"no key's charter covers anything of {subject}"
            raise UnworkableError(Hopeless.NO_KEY_FOR_SUBJECT, f"{where}.subjects", detail)
    longest = max(key.lifetime for key in keys)
    if profile.lifetime > longest:
        detail = f"it is {profile.lifetime} s, and the key that lets most lets {longest} s"
        raise UnworkableError(Hopeless.LIFETIME_TOO_LONG, f"{where}.lifetime", detail)


def _check_times(founding: Founding) -> None:
    """Refuse windows that no key or no metadata can outlast: the first trust is prepared after the keys were made."""
    horizons = founding.horizons
    trust = horizons.window + horizons.grace
    for key in founding.keys:
        needed = horizons.window if key.charter.purpose is Purpose.TOKENS else trust
        if needed >= key.valid_for:
            detail = f"it is {key.valid_for} s, and the first window, with its grace, takes {needed} s of it at once"
            raise UnworkableError(Hopeless.KEY_TOO_SHORT, f"keys.{key.name}.valid_for", detail)
    for member, lasts in (("root", horizons.root), ("targets", horizons.targets)):
        if trust > lasts:
            detail = f"it is {lasts} s, and horizons.window and horizons.grace take {trust} s"
            raise UnworkableError(Hopeless.METADATA_TOO_SHORT, f"horizons.{member}", detail)


def _meet(one: str, other: str) -> bool:
    """Whether two patterns of subjects name anything in common."""
    return names.matches(one, other) or names.matches(other, one) or _below(one, other) or _below(other, one)


def _below(narrow: str, wide: str) -> bool:
    return narrow.endswith("/*") and wide.endswith("/*") and narrow.startswith(wide[:-1])
