"""Where the time goes: a profile, its rows added up by subject."""

import cProfile
import pstats
from collections import defaultdict

SUBJECTS = (
    ("verifying signatures (cryptography)", ("'verify' of",)),
    ("waiting for the HSM and the disk", ("poll", "acquire")),
    ("JSON, base64 and hashing", ("canonical.py", "json/", "binascii", "base64", "_hashlib", "hashlib")),
    (
        "deciding",
        (
            "nouns/",
            "appliance/policy",
            "appliance/deciding",
            "appliance/intake",
            "names.py",
            "charter.py",
            "profile.py",
        ),
    ),
    ("writing tokens", ("writers/", "jose.py")),
    ("folding entries", ("fold.py", "lookups.py", "live.py", "record.py", "standing.py", "log/")),
    ("the loop", ("asyncio/", "engine/", "contextvars", "selectors")),
)


def shares(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """Give the share (0 to 1) of each subject in a profile; the rest is last."""
    found: defaultdict[str, float] = defaultdict(float)
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed leaves it out
    for (file, _line, name), (_calls, _all, own, _below, _callers) in stats.items():
        place = f"{file} {name}"
        found[next((subject for subject, marks in SUBJECTS if any(mark in place for mark in marks)), "the rest")] += own
    total = sum(found.values())
    return [(name, found[name] / total) for name in [*(subject for subject, _ in SUBJECTS), "the rest"]]
