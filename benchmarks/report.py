"""docs/benchmarks.md, made from results.json and from nothing else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]


def _at_least(name: str, least: float) -> Callable[[Rows], bool]:
    return lambda rows: float(rows[name]["ratio"]) >= least


def _at_most(name: str, most: float, member: str = "ratio") -> Callable[[Rows], bool]:
    return lambda rows: float(rows[name][member]) <= most


AIMS: Sequence[tuple[str, Sequence[str], Callable[[Rows], bool]]] = (
    ("a batch at 0.65 of one raw signing thread, or more", ("issue.batch",), _at_least("issue.batch", 0.65)),
    ("64 callers at 0.3 of one raw signing thread, or more", ("issue.c64",), _at_least("issue.c64", 0.3)),
    ("without fsync less than a quarter faster", ("issue.c64.nofsync",), _at_most("issue.c64.nofsync", 1.25)),
    ("half of all single issues within 2.5 of a raw sign and a commit", ("issue.p50",), _at_most("issue.p50", 2.5)),
    ("verifying at 0.75 of a raw verification, or more", ("verify",), _at_least("verify", 0.75)),
    ("verifying faster than PyJWT", ("verify.pyjwt",), _at_most("verify.pyjwt", 0.999)),
    ("verifying faster than joserfc", ("verify.joserfc",), _at_most("verify.joserfc", 0.999)),
    ("a cold start within 60 ms of importing the crypto library", ("coldstart",), _at_most("coldstart", 60, "value")),
    (
        "an issue costs the same at 10^4 and 10^6 entries (within a quarter)",
        ("issue.flat",),
        _at_most("issue.flat", 1.25),
    ),
)


def write(
    results: Sequence[Mapping[str, Any]],
    machine: Mapping[str, str],
    profiles: Mapping[str, Sequence[tuple[str, float]]],
) -> str:
    """Give the document: the machine, every row, every aim, and where the time goes."""
    rows = {str(row["row"]): row for row in results}
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`, which measures everything anew in one run and writes this page and",
        "[results.json](../benchmarks/results.json). Read the ratios, not the absolute numbers: they compare rows",
        "of the same run on the same machine. Signing keys are in SoftHSM, every signature is verified again before",
        "it is released, and every commit is synced.",
        "",
        "| machine | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in machine.items()),
        "",
        "## Rows",
        "",
        "A ratio is the value over that of what it stands against; for a time the smaller is the better.",
        "",
        "| row | value | unit | against | ratio |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| `{row['row']}` | {row['value']:g} | {row['unit']} | {_against(row['against'])} | "
            f"{_ratio(row['ratio'])} |"
            for row in results
        ),
        "",
        "`issue.batch` is one command for 10,000 credentials, read to its end over the socket by a client on the",
        "same two cores. `issue.cN` are N callers with pre-signed commands over kept-alive connections. `issue.p50`",
        "and `issue.p99` are at the engine, in its process. `issue.at.N` is the median of single issues when the log",
        "has N entries. `nofsync` takes the syncing away from outside, with Debian's eatmydata. `proofs.N` are the",
        "proofs that a bundle carries from the 64 before it, spread over a log of N entries.",
        "",
        "## Aims",
        "",
        "| aim | found | |",
        "| --- | --- | --- |",
        *(
            f"| {text} | {_found(rows, names)} | {'met' if met(rows) else '**missed**'} |"
            for text, names, met in AIMS
            if all(name in rows for name in names)
        ),
        "",
        "## Where the time goes",
        "",
        "Shares of the engine's own thread, by a profile, which itself makes Python code look dearer than C. The HSM",
        "worker has the other core. The callers of this table are at the engine: on the socket, reading requests and",
        "writing answers comes on top. Of a single issue, `issue.p50.commit` and `issue.p50.hsm` are the two waits;",
        "the rest is deciding, verifying, and handing over between threads.",
        "",
        f"| what | {' | '.join(profiles)} |",
        f"| --- |{' --- |' * len(profiles)}",
        *(
            f"| {name} | {' | '.join(f'{dict(shares)[name]:.0%}' for shares in profiles.values())} |"
            for name, _ in next(iter(profiles.values()), ())
        ),
        "",
    ]
    return "\n".join(lines)


def _against(name: object) -> str:
    return "" if name is None else f"`{name}`" if " " not in str(name) else str(name)


def _ratio(ratio: object) -> str:
    return "" if ratio is None else f"{ratio:g}"


def _found(rows: Rows, names: Sequence[str]) -> str:
    return ", ".join(
        _ratio(rows[name]["ratio"])
        if rows[name]["ratio"] is not None
        else f"{rows[name]['value']:g} {rows[name]['unit']}"
        for name in names
    )
