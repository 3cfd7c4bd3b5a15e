"""The documents say what the code does: every id, number, member, verb and example in them is the code's own."""

import argparse
import ast
import importlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import pytest

from appliance import custodians, deciding, reading, views
from appliance.card import CardFault
from appliance.ceremony import CeremonyFault
from appliance.cli import app, failures
from appliance.cli.exits import Exit
from appliance.cli.messages import MESSAGES
from appliance.cli.secret_input import SecretFault
from appliance.client import ClientFault
from appliance.custodians import CustodyFault
from appliance.decision import Decision
from appliance.engine import Engine
from appliance.errors import HomeFault, Refusal
from appliance.home import Settings
from appliance.identity import IdentityFault
from appliance.outcome import Outcome, State
from appliance.service.app import application, workload_application
from coldcred import Freshness, TrustStore, framing, layout, verification
from coldcred import __main__ as coldcred
from coldcred.acts import BEYOND_POLICY, MAY_APPROVE, RULES, Act
from coldcred.bundle.roles import SITE
from coldcred.canonical import Json, b64u_encode, dumps, sha256_hex
from coldcred.charter import Purpose
from coldcred.errors import BundleReason, LogReason, Reason
from coldcred.jose import Typ
from coldcred.log import export as exports
from coldcred.log import system
from coldcred.log.note import VerifierKey
from coldcred.record import Record
from coldcred.workable import Hopeless
from hsm.environment import NAMES, PREFIXES
from hsm.errors import CAUSES
from tests.support import example, plant
from tests.support.markdown import Document, codes
from tests.support.running import RunningPlant, run
from tests.support.signers import Signer
from tests.support.tree import PACKAGES, ROOT, module_name, sources

DOCS = ROOT / "docs"
FORMAT = Document.read(DOCS / "format.md")
DOCUMENTS = [
    Document.read(path) for path in (ROOT / "README.md", ROOT / "verifier" / "README.md", *sorted(DOCS.rglob("*.md")))
]
THREATS = Document.read(DOCS / "threat-model.md")
ADRS = sorted((DOCS / "adr").glob("*.md"))

ASKED = {"command", "document", "act", "by", "people", "approvals", "policy"}
"""What every event has that carries out a command."""


def name(value: object) -> str | None:
    """Name a test case after the document, or the heading, that it is about."""
    if isinstance(value, Document):
        return value.path.relative_to(ROOT).as_posix()
    return value.name if isinstance(value, Path) else None


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """Return the files of the worked example, made anew."""
    return example.make()


# -- the worked example


def test_the_files_of_the_example_do_not_drift(made: dict[str, bytes]) -> None:
    """The engine still makes these bytes; if it should not, `python -m tests.support.example` writes them anew."""
    by_hand = {"README.md", "plan.toml", "orders-reader.toml", "policy.cedar"}
    stored = {path.name: path.read_bytes() for path in example.FOLDER.iterdir() if path.name not in by_hand}
    assert sorted(stored) == sorted(made)
    assert [file for file in made if stored[file] != made[file]] == []


def test_the_examples_in_the_document_do_not_drift(made: dict[str, bytes]) -> None:
    """Each example stands once in format.md, byte for byte; `python -m tests.support.example` writes them anew."""
    examples = example.blocks(made)
    assert sorted(example.placed(FORMAT.text)) == sorted(examples)
    assert example.put(FORMAT.text, examples) == FORMAT.text


def test_the_credential_of_the_example_is_accepted_until_it_is_revoked(made: dict[str, bytes]) -> None:
    """With the first bundle the verdict is accepted and fresh, with the second it is revoked."""
    before = example.verdict(made, "site-0001.bundle")
    after = example.verdict(made, "site-0001.bundle", "site-0002.bundle", at="2026-11-18T11:31:40Z")
    assert (before["verdict"], before["freshness"]) == ("accepted", "fresh")
    assert (after["verdict"], after["reason"], after["claims"]) == ("rejected", Reason.REVOKED, None)


def test_the_log_of_the_example_is_intact(made: dict[str, bytes]) -> None:
    """It verifies under the key that the bundle brought, and grew from the checkpoints of both bundles."""
    bundles = [framing.read(made[file], framing.BUNDLE) for file in ("site-0001.bundle", "site-0002.bundle")]
    identity = TrustStore.of_files(bundles[0], generation=1).identity
    anchor = exports.Anchor(VerifierKey.parse(identity.log_vkey), identity.appliance)
    kept = [(f"bundle {place}", bundle[layout.CHECKPOINT]) for place, bundle in enumerate(bundles, 1)]
    report = exports.verify(io.BytesIO(made["log.export"]), anchor, kept)
    assert report.anchored
    assert (report.entries, len(report.kept)) == (len(entries(made)), 2)


def entries(made: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Give the events of the example's log."""
    body = framing.read(made["log.export"], framing.EXPORT)[exports.ENTRIES]
    return [json.loads(line)["event"] for line in body.splitlines()]


# -- closed lists of ids


@pytest.mark.parametrize(
    ("heading", "column", "known"),
    [
        ("Reasons", 1, list(Reason)),
        ("Reasons of a bundle", 1, list(BundleReason)),
        ("Reasons of a log", 1, list(LogReason)),
        ("Refusals", 0, list(Refusal)),
        ("Faults of a home", 0, list(HomeFault)),
        ("Errors of the HSM", 0, list(CAUSES)),
        ("Table of typ", 0, list(Typ)),
        ("Charters by purpose", 0, list(Purpose)),
        ("Freshness", 0, list(Freshness)),
        ("Outcomes", 0, list(State)),
        ("What can never work", 0, list(Hopeless)),
        ("7. Acts", 0, list(Act)),
    ],
    ids=name,
)
def test_each_id_is_documented_and_none_that_does_not_exist(
    heading: str, column: int, known: list[StrEnum | str]
) -> None:
    """The table has the ids of the code, all of them, in the code's order."""
    assert FORMAT.ids(heading, column) == [str(one) for one in known]


def test_every_other_id_that_people_see_is_documented() -> None:
    """What `coldcredctl` has words for stands in one of the tables, and so does every fault that has a type."""
    elsewhere = {*Refusal, *HomeFault, *CAUSES}
    faults = {*IdentityFault, *CardFault, *CeremonyFault, *CustodyFault, *SecretFault, *ClientFault}
    documented = FORMAT.ids("Other ids")
    assert len(set(documented)) == len(documented)
    assert faults <= set(documented)
    assert set(documented) == set(MESSAGES) - elsewhere


@pytest.mark.parametrize("heading", ["Reasons", "Reasons of a bundle", "Reasons of a log"])
def test_reasons_are_numbered(heading: str) -> None:
    """Numbers count from 1, so that a reason can be named by its number for ever."""
    assert [row[0] for row in FORMAT.table(heading)] == [
        str(place) for place in range(1, len(FORMAT.table(heading)) + 1)
    ]


def test_each_id_has_the_exit_code_that_is_documented() -> None:
    """What the tables say of exit codes is what `coldcredctl` returns."""
    documented = {row[0].strip("`"): int(row[2]) for row in FORMAT.table("Other ids")}
    assert documented == {id_: failures.exit_of(id_) for id_ in documented}
    assert {failures.exit_of(id_) for id_ in CAUSES} == {Exit.HSM}
    others = {HomeFault.EXISTS: Exit.REFUSED, HomeFault.HSM_CONTENT: Exit.HSM}
    assert {fault: failures.exit_of(fault) for fault in HomeFault} == {
        **dict.fromkeys(HomeFault, Exit.STORAGE),
        **others,
    }
    assert [(int(row[0]), row[1]) for row in FORMAT.table("Exit codes")] == [(int(code), code.name) for code in Exit]


def test_rules_that_code_and_documents_cite_are_in_the_index() -> None:
    """Each `R` number in a source file or a document has its row, and a row in which it is explained."""
    indexed = [row[0] for row in FORMAT.table("14. Rules by number")]
    assert indexed == sorted(indexed, key=lambda rule: int(rule[1:]))
    texts = [path.read_text() for package in PACKAGES for path in sources(package)]
    texts += [document.prose for document in DOCUMENTS]
    cited = {rule for text in texts for rule in re.findall(r"\bR[0-9]{1,2}\b", text)}
    assert cited == set(indexed)


def test_rules_that_are_named_by_section_stand_there() -> None:
    """`section 5, rule 9` in a table of ids leads to a numbered paragraph of that section."""
    found = re.findall(r"section ([0-9]+), rules? ([0-9]+)(?: and ([0-9]+))?", FORMAT.prose)
    assert found
    for section, *rules in found:
        (heading,) = (heading for heading in FORMAT.headings if heading.startswith(f"{section}. "))
        numbered = re.findall(r"^([0-9]+)\. ", FORMAT.section(heading), re.MULTILINE)
        assert {rule for rule in rules if rule} <= set(numbered), section


def test_each_rule_stands_where_the_index_says() -> None:
    """Each section that the index names for a rule cites its number."""
    parts = re.split(r"^## ([0-9]+)\. ", FORMAT.text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for rule, _says, where in FORMAT.table("14. Rules by number"):
        for section in re.findall(r"[0-9]+", re.sub(r"\[.*?\]\(.*?\)", "", where)):
            assert re.search(rf"\b{rule}\b", sections[section]), (rule, section)


@pytest.mark.parametrize("heading", FORMAT.headings, ids=name)
def test_paragraphs_are_numbered_without_a_gap(heading: str) -> None:
    """Numbers count from 1 below each heading, so that a paragraph can be named."""
    numbered = re.findall(r"^([0-9]+)\. ", FORMAT.section(heading), re.MULTILINE)
    assert numbered == [str(place) for place in range(1, len(numbered) + 1)]


def test_no_paragraph_stands_twice() -> None:
    """In no document: a merge that keeps both sides shows here."""
    for document in DOCUMENTS:
        paragraphs = [part.strip() for part in re.split(r"\n\n+", document.prose)]
        rows = [line for line in document.prose.splitlines() if line.startswith("| ") and "---" not in line]
        long = [text for text in (*paragraphs, *rows) if len(text) > 100]
        assert [text[:80] for text in set(long) if long.count(text) > 1] == [], document.path.name


# -- what is kept where


def test_every_module_has_its_row_in_the_architecture() -> None:
    """Each module of the packages is named in the table of modules, or a package below theirs that it is in."""
    named = set(Document.read(DOCS / "architecture.md").codes)
    for package in PACKAGES:
        for path in sources(package):
            parts = module_name(path).split(".")
            below = {".".join(parts[:most]) for most in range(2, len(parts) + 1)}
            assert parts[-1] == "__main__" or len(parts) == 1 or below & named, module_name(path)


@pytest.mark.parametrize("section", [heading for heading in THREATS.headings if "| rule |" in THREATS.section(heading)])
def test_each_promise_against_an_attacker_is_kept_and_tested_somewhere(section: str) -> None:
    """A row names a rule of the index or a module, and where it names modules, a test."""
    indexed = {row[0] for row in FORMAT.table("14. Rules by number")}
    for line in THREATS.section(section).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 4 or cells[1] in {"rule", "---"}:
            continue
        promise, rules, modules, tests = cells
        assert promise, line
        assert set(rules.split(", ")) <= indexed, promise
        assert codes(modules), promise
        assert re.findall(r"\]\(\.\./tests/[^)]+\)", tests), promise


# -- the acts


def test_the_table_of_acts_is_that_of_the_code() -> None:
    """Roles and numbers of people are those that are enforced."""
    for act, roles, people in FORMAT.table("7. Acts"):
        rule = RULES[Act(act.strip("`"))]
        may_ask = {"custodian"} if rule.custodians else set(rule.may_ask)
        assert (set(roles.split(", ")), int(people)) == (may_ask, rule.people), act
    may_approve = re.search(r"May approve: ([a-z, ]+)\.", FORMAT.section("7. Acts"))
    assert may_approve is not None
    assert set(may_approve[1].split(", ")) == set(MAY_APPROVE)


def arguments() -> dict[Act, dict[str, tuple[Json, str]]]:
    """Give the documented arguments of each act: an example, and what is said of leaving it out."""
    described: dict[str, Json] = dict.fromkeys(("enrolment", "countersignature", "policy", "from"), "")
    described |= {"profile": plant.profile(), "files": {}}
    found: dict[Act, dict[str, tuple[Json, str]]] = {act: {} for act in Act}
    for act, argument, value, absent in FORMAT.table("Arguments"):
        (member,) = codes(argument)
        written = codes(value)
        given = json.loads(written[0]) if written else described[member]
        found[Act(act.strip("`"))][member] = given, absent.partition(":")[0]
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Return what decisions ask of the arguments while a test runs: names of members by the record's name."""
    found: dict[str, set[str]] = {}
    deciding_now = False
    decide = deciding.decide

    def decided(*arguments: Any) -> Decision:
        nonlocal deciding_now
        deciding_now = True
        try:
            return decide(*arguments)
        finally:
            deciding_now = False

    def spied(reading_of: Any) -> Any:
        def spy(record: Record, member: str, **bounds: int) -> object:
            if deciding_now:
                found.setdefault(record._where, set()).add(member)
            return reading_of(record, member, **bounds)

        return spy

    monkeypatch.setattr(deciding, "decide", decided)
    for method in ("value", "has", "text", "integer"):
        monkeypatch.setattr(Record, method, spied(getattr(Record, method)))
    return found


def test_the_arguments_of_each_act_are_those_documented(tmp_path: Path, asked: dict[str, set[str]]) -> None:
    """What is documented is read; a required one that is absent, or one that is not documented, is refused."""
    documented, running = arguments(), RunningPlant(tmp_path / "home")
    attachments: dict[str, bytes] = {}

    async def ask(engine: Engine, act: Act, args: dict[str, Json]) -> Outcome:
        alice, bob = (plant.custodian(person) for person in ("alice", "bob"))
        requester, approver = (alice, bob) if RULES[act].custodians else ("alice", "bob")
        command = running.command(requester, act, args)
        named = {digest: body for digest, body in attachments.items() if digest.encode() in dumps(args)}
        running.beside = named
        approvals = [running.approval(approver, command)] if RULES[act].people > 1 else []
        return await engine.submit_command(command, named, approvals)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            trust = engine.standing.authority.trust
            assert trust is not None
            attachments.update({digest: engine.standing.archive.blob(digest) for digest in trust.files.values()})
            documented[Act.TRUST_SUBMIT]["files"] = {**trust.files}, ""
            proof = running.proof(workload=str(documented[Act.WORKLOAD_ENROL]["id"][0])).encode()
            documented[Act.WORKLOAD_ENROL]["enrolment"] = sha256_hex(proof), "yes"
            attachments[sha256_hex(proof)] = proof
            for act in (Act.OPERATOR_ADD, Act.OPERATOR_REPLACE_KEY, Act.OPERATOR_RECOVER):
                person = str(documented[act]["person"][0])
                proof = running.countersignature(Signer.named(f"{person} {act}"), person).encode()
                documented[act]["countersignature"] = sha256_hex(proof), documented[act]["countersignature"][1]
                attachments[sha256_hex(proof)] = proof
            note = engine.standing.archive.newest_checkpoint()
            assert note is not None
            documented[Act.BUNDLE_CREATE]["from"] = b64u_encode(note[1]), "yes"
            text = (example.FOLDER / "policy.cedar").read_bytes()
            documented[Act.POLICY_SET]["policy"] = sha256_hex(text), ""
            attachments[sha256_hex(text)] = text
            # Recovery last: from then on somebody signs with another key.
            for act, members in sorted(documented.items(), key=lambda item: item[0] is Act.OPERATOR_RECOVER):
                alternatives = [member for member, (_, absent) in members.items() if absent.startswith("one of")]
                everything = {member: value for member, (value, _) in members.items()}
                whole = everything
                asked.clear()
                for chosen in alternatives or [""]:
                    others = set(alternatives) - {chosen}
                    whole = {member: value for member, value in everything.items() if member not in others}
                    assert (await ask(engine, act, whole)).reason != Refusal.MALFORMED, act
                if alternatives:
                    assert (await ask(engine, act, everything)).reason == Refusal.MALFORMED, act
                assert asked.get(act.value, set()) == set(members), act
                surprised = await ask(engine, act, {**whole, "surprise": 1})
                assert surprised.reason == Refusal.MALFORMED, act
                for member in whole:
                    may_be_absent = members[member][1] == "yes"
                    without = {other: value for other, value in whole.items() if other != member}
                    refused = (await ask(engine, act, without)).reason == Refusal.MALFORMED
                    assert refused != may_be_absent, (act, member)

    run(story())


def test_the_members_of_an_outcome_are_documented() -> None:
    """Those of the answer as it travels."""
    written = Outcome("0" * 64, "read.open", State.DONE).as_json()
    (line,) = (line for line in FORMAT.section("Outcomes").splitlines() if line.startswith("Members:"))
    assert codes(line) == list(written)


# -- signed documents


def test_claims_are_those_of_the_table(made: dict[str, bytes]) -> None:
    """Every kind of token in the example has the claims that its row lists, and no others but the optional ones."""
    bundle = framing.read(made["site-0001.bundle"], framing.BUNDLE)
    tokens = [
        made["credential.jwt"],
        made["request.jws"],
        made["approval.jws"],
        made["enrolment.jws"],
        made["countersignature.jws"],
        bundle[layout.STATUS_LISTS[0]],
        example.signatures(example.founding())[0].encode(),
    ]
    rows = {codes(row[0])[0]: (set(codes(row[2])), set(codes(row[3]))) for row in FORMAT.table("Table of typ")}
    seen = set()
    for token in tokens:
        header, claims = example.unpacked(token)
        required, optional = rows[str(header["typ"])]
        assert required <= set(claims) <= required | optional, header["typ"]
        seen.add(header["typ"])
    assert seen == set(rows) - {Typ.RECEIPT, Typ.HOLDER, Typ.SVID}


def test_registers_in_the_table_of_typ_exist() -> None:
    """Each `typ` is signed by keys of a register that the table of registers has."""
    registers = {row[0] for row in FORMAT.table("Registers")}
    assert len(registers) == 7
    named = {register for row in FORMAT.table("Table of typ") for register in row[1].split(", ")}
    assert named <= registers


def test_charters_have_the_documented_members() -> None:
    """The grammar of each purpose, member by member."""
    charters = {**plant.charters(), "operator": plant.operator_charter()}
    for row in FORMAT.table("Charters by purpose"):
        (purpose,) = codes(row[0])
        assert {*codes(row[1]), "v", "purpose", "algorithm"} == set(charters[purpose])


def test_the_members_of_a_founding_are_documented(made: dict[str, bytes]) -> None:
    """The table names every member of the document."""
    documented = [code for row in FORMAT.table("5. The founding") for code in codes(row[0])]
    assert sorted(documented) == sorted(json.loads(made["founding.json"]))


# -- the log


def event_types() -> Iterator[str]:
    """Yield the types of events that the appliance writes, as its source says."""
    for path in sources("appliance"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                members = zip(node.keys, node.values, strict=True)
                yield from (
                    str(value.value) for key, value in members if _says(key, "type") and isinstance(value, ast.Constant)
                )
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "event":
                yield from (str(first.value) for first in node.args[:1] if isinstance(first, ast.Constant))


def _says(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def test_the_table_of_events_is_closed() -> None:
    """It has every type that the appliance writes and no other."""
    assert sorted(FORMAT.ids("Events")) == sorted(set(event_types()))


def test_events_have_the_documented_members(made: dict[str, bytes]) -> None:
    """Each event of the example has exactly the members of its row; only a clean stop comes after the export."""
    rows = {codes(row[0])[0]: {*codes(row[2]), *(ASKED if row[1] else ())} for row in FORMAT.table("Events")}
    for event in entries(made):
        if "policy" in event:
            assert ("permits" in event) == (event["act"] not in BEYOND_POLICY)
            assert ("profiles" in event) == (event["act"] == Act.CREDENTIAL_ISSUE)
        assert ("checkpoint" in event) == (event.get("role") == SITE)
        left = set(event) - {"type", "permits", "profiles", "named", "checkpoint"}
        assert left == rows[event["type"]], event["type"]
    assert set(rows) - {event["type"] for event in entries(made)} == {"stopped", *system.EVENTS}
    assert rows["stopped"] == set()


@pytest.mark.parametrize(
    ("heading", "mark", "known", "elsewhere"),
    [
        ("Checks of a bundle", "B", BundleReason, {BundleReason.STORE_EXISTS}),
        ("Checks of an export", "L", LogReason, {LogReason.BAD_PROOF}),
    ],
    ids=name,
)
def test_checks_are_numbered_and_end_in_reasons_that_exist(
    heading: str, mark: str, known: type[StrEnum], elsewhere: set[StrEnum]
) -> None:
    """Numbers count up, and every reason is given by some check, or outside of checking."""
    rows = FORMAT.table(heading)
    assert [row[0] for row in rows] == [f"{mark}{place}" for place in range(1, len(rows) + 1)]
    assert {reason for row in rows for reason in codes(row[2])} == set(known) - elsewhere


# -- verifying


def numbered_checks() -> list[tuple[str, str]]:
    """Give number and reason of each check that `coldcred.verification` lists."""
    found = re.findall(r"^    (V[0-9]+) .* ([a-z-]+)$", verification.__doc__ or "", re.MULTILINE)
    return [(number, reason) for number, reason in found]


def test_the_numbered_checks_are_the_numbered_paragraphs() -> None:
    """Same numbers, same order, same reasons in the module and in the document."""
    documented = [(row[0], codes(row[2])[0]) for row in FORMAT.table("12. Verifying a credential")]
    assert documented == numbered_checks()
    assert [int(number[1:]) for number, _ in documented] == list(range(1, 24))


def test_the_checks_are_made_in_that_order() -> None:
    """The comments beside the code count as the list does, and each check raises its reason."""
    source = Path(verification.__file__).read_text()
    code = source[source.index('"""', 3) :]
    listed = [
        number
        for line in re.findall(r"^\s+# (V[0-9]+(?:, V[0-9]+)*)", code, re.MULTILINE)
        for number in line.split(", ")
    ]
    assert sorted(listed, key=lambda number: int(number[1:])) == [number for number, _ in numbered_checks()]
    raised = set(re.findall(r"Reason\.([A-Z_]+)", code))
    assert raised == {Reason(reason).name for _, reason in numbered_checks()}


def test_reasons_name_the_checks_that_give_them() -> None:
    """The table of reasons and the table of checks say the same."""
    by_reason: dict[str, list[str]] = {}
    for number, reason in numbered_checks():
        by_reason.setdefault(reason, []).append(number)
    for row in FORMAT.table("Reasons"):
        (reason,) = codes(row[1])
        assert [number for number in row[2].split(", ") if number] == by_reason.get(reason, []), reason


# -- bundles and trust


def test_bodies_of_a_bundle_are_the_closed_list() -> None:
    """Names, sizes and which are required."""
    documented: dict[str, tuple[int, bool]] = {}
    for row in FORMAT.table("Bundles"):
        (body,) = codes(row[0])
        numbers = {"N.root": layout.MAX_ROOTS, "status-N": layout.MAX_STATUS_LISTS}
        most = next((count for part, count in numbers.items() if part in body), 1)
        for number in range(1, most + 1):
            required = (row[3] == "yes" and (most == 1 or number == 1)) or (row[3] == "N = 1" and number == 1)
            documented[re.sub(r"\bN\b", str(number), body)] = int(row[1]), required
    assert documented == {body: (most, body in layout.REQUIRED) for body, most in layout.LIMITS.items()}


def test_members_of_the_trust_documents_are_documented(made: dict[str, bytes]) -> None:
    """Each document of the example has the members of its row."""
    bundle = framing.read(made["site-0001.bundle"], framing.BUNDLE)
    rows = FORMAT.table("What custodians sign")
    assert [f"targets/{codes(row[0])[0]}" for row in rows] == list(layout.BY_CUSTODIANS)
    for row in rows:
        (path,) = codes(row[0])
        assert set(codes(row[1])) == set(json.loads(bundle[f"targets/{path}"])), path
    (key, *_) = json.loads(bundle[layout.JWKS])["keys"]
    assert set(key) <= set(codes(rows[1][2]))


def test_files_of_a_trust_store_are_documented() -> None:
    """The table has the names that the code uses."""
    documented = [codes(row[0])[0] for row in FORMAT.table("11. The trust store")]
    made = {layout.PINS, layout.ROOT, layout.SITE_KEY, layout.ENROLMENT, layout.LOCK}
    expected = {*made, f"{layout.GENERATIONS}/N/", layout.CURRENT, layout.EVIDENCE}
    assert set(documented) == expected


# -- numbers, verbs, routes


@pytest.mark.parametrize(
    ("value", "constant"), [(row[1], codes(row[2])[0]) for row in FORMAT.table("Limits")], ids=name
)
def test_limits_are_those_of_the_code(value: str, constant: str) -> None:
    """Each number in the table of limits is that of the constant beside it."""
    module, _, attribute = constant.rpartition(".")
    assert float(value) == getattr(importlib.import_module(module), attribute)


_BOUNDS = re.compile(r"_?(?:MAX|MOST|LONGEST|LARGEST|SHORTEST|FEWEST|DEEPEST)(?:_[A-Z0-9_]+)?")


@pytest.mark.parametrize("path", [path for package in PACKAGES for path in sources(package)], ids=name)
def test_each_limit_of_the_code_is_in_the_table(path: Path) -> None:
    """A constant whose name says that it bounds something, and that is a number, has a row of its own."""
    module = module_name(path)
    assigned = [
        target.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and _BOUNDS.fullmatch(target.id)
    ]
    listed = {codes(row[2])[0] for row in FORMAT.table("Limits")}
    bounds = {
        f"{module}.{found}"
        for found in assigned
        if isinstance(getattr(importlib.import_module(module), found), int | float)
    }
    assert bounds - listed == set()


def test_counts_in_prose_are_those_of_the_files(made: dict[str, bytes]) -> None:
    """Where a document says how many entries the example's log has, it has so many, and its checkpoint covers them."""
    said = [
        int(number)
        for text in (FORMAT.text, (example.FOLDER / "README.md").read_text())
        for number in re.findall(r"(?:the whole log, |This one covers )([0-9,]+) entries", text)
    ]
    checkpoint = framing.read(made["log.export"], framing.EXPORT)["checkpoint"]
    assert said == [len(entries(made))] * 2
    assert checkpoint.splitlines()[1].decode() == str(said[0])


def test_nothing_is_installed_by_a_name_that_nobody_owns() -> None:
    """No document has people ask a package index for one of our two distributions, under any extra."""
    asks = re.compile(r"pip3? install [^\n]*(?<![./\w-])coldcred(?:-appliance)?(?:\[\w+\])?(?:['\"\s]|$)", re.MULTILINE)
    pages = [*DOCUMENTS, *(Document.read(ROOT / page) for page in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]
    assert [name(page) for page in pages if asks.search(page.text)] == []
    assert asks.search("    pip install 'coldcred[bundle]'   # an example of one")


def test_sizes_that_no_constant_holds() -> None:
    """The numbers that stand in sentences are those of the product."""
    assert "1024 submissions" in FORMAT.prose
    assert importlib.import_module("appliance.engine.inbox").QUEUE == 1024


def test_the_limits_of_a_policy_are_in_its_document() -> None:
    """policy.md names each limit that a text meets, in figures."""
    said = Document.read(DOCS / "policy.md").prose
    text = importlib.import_module("appliance.policytext")
    for sentence in (
        f"at most {text.MAX_BYTES // 1024} KiB",
        f"at most {text.MAX_POLICIES} policies",
        f"at most {text.MAX_WORDS:,} words",
        f"most {text.MAX_NESTING} deep",
        f"over {text.CEDAR_LEVELS} levels",
    ):
        assert sentence in said


@pytest.mark.parametrize("document", ["policy.md", "format.md"])
def test_acts_that_no_policy_is_asked_about_are_named(document: str) -> None:
    """Where a document says of which acts no policy is asked, it names them all and no other."""
    (said,) = re.findall(
        r"No policy is asked about.*?policies are asked anew", (DOCS / document).read_text(), re.DOTALL
    )
    assert {found for found in codes(said) if found in set(Act)} == {act.value for act in BEYOND_POLICY}


def verbs(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the verbs below a command, a noun before its verb."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for one in command.list_commands(context):
        found = command.get_command(context, one)
        assert found is not None
        yield from verbs(found, (*path, one))


def subcommands(parser: argparse.ArgumentParser, path: str) -> Iterator[str]:
    """Yield the commands below a parser."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield path
    for action in below:
        for one, found in action.choices.items():
            yield from subcommands(found, f"{path} {one}")


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    """Of both commands."""
    assert sorted(FORMAT.ids("coldcredctl")) == sorted(verbs(app.root))
    assert sorted(FORMAT.ids("coldcred")) == sorted(subcommands(coldcred.parser(), "coldcred"))


def test_commands_in_the_documents_can_be_called() -> None:
    """Whatever a document shows in code as a call of one of the commands begins with a verb that exists."""
    known = {f"coldcredctl {verb}" for verb in verbs(app.root)} | set(subcommands(coldcred.parser(), "coldcred"))
    shown = {
        code
        for document in DOCUMENTS
        for code in (*document.codes, *re.findall(r"^ {4}(coldcred.*)$", document.prose, re.MULTILINE))
        if re.match(r"coldcred(ctl)? [a-z]", code)
    }
    called = {re.sub(r" --?[a-z].*", "", code) for code in shown}
    assert sorted(call for call in called if not any(f"{call} ".startswith(f"{verb} ") for verb in known)) == []


def test_the_routes_of_the_service_are_documented() -> None:
    """Methods, paths and views."""
    for give, heading in ((application, "The socket"), (workload_application, "The workloads' socket")):
        service = give(None, lambda _: None)  # type: ignore[arg-type]  # nothing is asked of the engine
        routes = [(method, route.path) for route in service.routes for method in route.methods - {"HEAD"}]  # type: ignore[attr-defined]  # all are `Route`
        assert [(row[0], codes(row[1])[0]) for row in FORMAT.table(heading)] == routes, heading
    (listed,) = re.findall(r"^Views: ([^.]*)\.", FORMAT.section("The socket"), re.MULTILINE)
    in_code = set(re.findall(r'name == "([a-z]+)"', Path(reading.__file__).read_text()))
    assert set(codes(listed)) == set(views.VIEWS) | set(views.PAGED) | in_code


def test_settings_are_documented() -> None:
    """The members of settings.toml, and the variables that a module may be given."""
    text = FORMAT.section("Settings")
    written = Settings("/m", {"daily": "pkcs11:token=daily"}, {"SOFTHSM2_CONF": "/c"}).text()
    assert re.findall(r"^\[(.+)\]$", written, re.MULTILINE) == ["hsm", "hsm.tokens", "hsm.environment"]
    more = Settings("/m", {}, {}, "/run/workload.sock", "robots").text()
    assert set(re.findall(r"^(\w+) = ", more[more.index("[workloads]") :], re.MULTILINE)) == {"socket", "group"}
    assert {"[hsm]", "[hsm.tokens]", "[hsm.environment]", "[workloads]", "socket", "group"} <= set(codes(text))
    assert {code for code in codes(text) if re.fullmatch(r"[A-Z][A-Za-z0-9_]+", code)} == NAMES | set(PREFIXES)


# -- the documents themselves


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_a_file_and_a_heading(document: Document) -> None:
    """Each link inside the repository names a file that is there and, after a `#`, a heading of it."""
    for link in document.links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (document.path.parent / target).resolve() if target else document.path
        assert path.is_relative_to(ROOT), link
        assert path.exists(), link
        if anchor:
            assert anchor in Document.read(path).anchors, link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_modules_that_are_named_exist(document: Document) -> None:
    """A dotted name of ours in code is a module, or something that a module holds."""
    for code in document.codes:
        if not re.fullmatch(r"(?:coldcred|hsm|appliance)(?:\.[a-z_]+)+(?:\.[A-Z_]+)?", code):
            continue
        try:
            importlib.import_module(code)
        except ModuleNotFoundError:
            module, _, attribute = code.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), code


@pytest.mark.parametrize("path", ADRS, ids=name)
def test_decisions_have_their_form(path: Path) -> None:
    """Numbered as they follow each other, with a status, context, decision and consequences, on a page."""
    document = Document.read(path)
    number = int(path.name[:4])
    assert number == ADRS.index(path) + 1
    assert document.headings[0].startswith(f"{number}. ")
    assert document.headings[1:] == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Status: (accepted|superseded by .+)$", document.text, re.MULTILINE)
    assert len(document.text.splitlines()) <= 60


def test_targets_of_make_that_the_readme_names_exist() -> None:
    """Whoever follows the README gets no error from make."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", path.read_text(), re.MULTILINE))
        assert named
        assert named <= targets


def test_the_example_in_the_verifiers_readme_runs(
    made: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python it shows accepts the example's credential, and says why when it is over."""
    code = re.search(r"^In Python:\n\n((?:    .*\n|\n)+)", (ROOT / "verifier" / "README.md").read_text(), re.MULTILINE)
    assert code is not None
    lines = "\n".join(line.removeprefix("    ") for line in code[1].splitlines())
    _, claims = example.unpacked(made["credential.jwt"])
    trust = example.trust_at(tmp_path / "trust", made, "site-0001.bundle")
    issued_at = claims["iat"]
    assert isinstance(issued_at, int)
    given: dict[str, Any] = {"token": made["credential.jwt"].decode(), "path": trust}
    monkeypatch.setattr("time.time", lambda: issued_at)
    exec(lines, given)  # noqa: S102 - our own document
    assert given["credential"].subject == claims["sub"]
    monkeypatch.setattr("time.time", lambda: issued_at + 900)
    exec(lines, {"token": given["token"], "path": trust})  # noqa: S102 - our own document
    assert capsys.readouterr().out == "expired\n"


def test_what_the_examples_readme_shows_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its commands end with 0, and its Python accepts the credential."""
    text = (example.FOLDER / "README.md").read_text().replace("\\\n", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(DOCS)
    commands = [line.split()[1:] for line in re.findall(r"^ {4}(coldcred .*)$", text, re.MULTILINE)]
    assert [coldcred.main(command) for command in commands] == [0, 0]
    code = text[text.index("    from pathlib") :]
    capsys.readouterr()
    exec("\n".join(line.removeprefix("    ") for line in code.splitlines()), {})  # noqa: S102 - our own document
    assert capsys.readouterr().out == f"{example.WORKLOAD} fresh\n"


def test_custodians_files_have_the_documented_kind() -> None:
    """The kind that a custodian's signature file names."""
    assert custodians._KIND in FORMAT.codes
