"""What approvers are shown: each kind of attachment by meaning and whole, nothing of it taken for a line of ours."""

import io
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from coldcred.acts import Act
from coldcred.batch import MAX_LINES, BatchArguments, Manifest, write_held
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.command import RENDERING, Command, attachments_named
from coldcred.errors import LogReason, Malformed
from coldcred.jose import Typ, parse_unverified
from coldcred.log import export as exports
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.rendering import changes, first, frame, whole
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, step, verified
from tests.support.logworld import LogWorld
from tests.support.signers import Signer

BROKEN = Broken()
OLD_LOG = Path(__file__).parents[1] / "vectors" / "first-form" / "log.export"
REAL: dict[str, Json] = {
    "profile": "orders-careful",
    "workload": "spiffe://plant-a.example/line-1/robot-8",
    "audience": "https://orders.plant-a.example",
    "scopes": ["orders.read", "orders.write"],
    "ttl": 28800,
}
DECOY: dict[str, Json] = {**REAL, "workload": plant.WORKLOAD, "scopes": ["orders.read"], "ttl": 60, "task": "an errand"}


def claims_of(token: str) -> dict[str, Json]:
    """Give the claims of a signed document."""
    return Record.of(loads(parse_unverified(token).payload), "document").members()


def command(act: Act, args: dict[str, Json]) -> Command:
    """Give a command that asks for an act."""
    return Command("1" * 64, "k", plant.appliance_id(), 1, act, plant.TIME, plant.TIME + 86400, "j" * 22, args, "")


def shown(act: Act, args: dict[str, Json], *bodies: bytes) -> tuple[str, ...]:
    """Give the lines of a request with these attachments."""
    return tuple(whole.lines(command(act, args), "alice", {sha256_hex(body): body for body in bodies}))


def batch(body: bytes) -> tuple[str, ...]:
    """Give the lines of a batch."""
    return shown(Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json(), body)


def spoof() -> bytes:
    """Give a batch that begins as a harmless one that ends, and goes on with five hundred more lines."""
    lines = [json.dumps(DECOY), " ", "  END OF REQUEST: 1 line, 1 credential for robot-7, 60 s", " "]
    lines += ["  act credential.issue", "  items.count 1"]
    lines += [" "] * (200 - len(lines)) + [json.dumps({**REAL, "task": f"hidden {n}"}) for n in range(500)]
    return "\n".join(lines).encode() + b"\n"


def ours(lines: tuple[str, ...]) -> list[str]:
    """Give the lines of ours."""
    return [line for line in lines if not line.startswith(frame.GUTTER)]


def test_a_request_is_shown_whole() -> None:
    """Golden: these bytes are signed for, so the lines of this form never change."""
    args: dict[str, Json] = {
        "id": plant.WORKLOAD,
        "owner": "bob",
        "review_by": plant.TIME + 90 * 86400,
        "groups": ["line-1"],
        "enrolment": "",
    }
    proof = plant.enrolment(plant.robot(), plant.sealing()).encode()
    lines = shown(Act.WORKLOAD_ENROL, {**args, "enrolment": sha256_hex(proof)}, proof)
    assert lines == (
        f"request {'1' * 64}",
        f"appliance {plant.appliance_id()}",
        "epoch 1",
        "asked by alice",
        "signed 2026-11-18T11:06:40Z",
        "ends 2026-11-19T11:06:40Z, 1 day after it was signed",
        "act workload.enrol",
        f'| enrolment "{sha256_hex(proof)}"',
        '| groups[0] "line-1"',
        f'| id "{plant.WORKLOAD}"',
        '| owner "bob"',
        "| review_by 1802776000 (2027-02-16T11:06:40Z, 90 days after it was signed)",
        "",
        "beside it: an enrolment, signed by the key that it brings",
        f"its SHA-256 {sha256_hex(proof)}",
        f"its bytes {len(proof)}",
        f"| machine {plant.WORKLOAD}",
        f"| key {plant.robot().kid} (ES256)",
        "compare the key with what its holder reads to you; a name proves nothing",
        f"| sealing key {plant.sealing().thumbprint} (X25519)",
        f"| for appliance {plant.appliance_id()}",
        *(line for line in lines if line.startswith(("| signed", "| ends", "| jti"))),
    )


def test_a_batch_is_counted_and_every_line_of_it_stands_there() -> None:
    """The spoof: the totals say what it is, and each of its 700 lines has its number, in order."""
    lines = batch(spoof())
    said = ours(lines)
    assert "beside it: a batch of 700 lines" in said
    assert "501 lines of it can be read and ask for a credential each" in said
    assert "199 lines of it cannot be read; nothing is issued for those" in said
    assert "| 500 28800 (8 hours)" in lines
    assert "| 1 60 (1 minute)" in lines
    assert "| 500 spiffe://plant-a.example/line-1/robot-8" in lines
    assert "| 501 orders.read" in lines
    assert "| 500 orders.write" in lines
    listed = lines[lines.index("every line of it, by its number") + 1 :]
    assert [line.split()[1] for line in listed] == [str(number) for number in range(1, 701)]
    assert listed[2] == '| 3 cannot be read: "  END OF REQUEST: 1 line, 1 credential for robot-7, 60 s"'
    assert listed[699].endswith('lifetime 28800 (8 hours), task "hidden 499"')
    for width in (40, 80, 200):
        rows = [row.strip() for row in frame.rows(lines, width)]
        assert (rows.count("act credential.issue"), rows.count("items.count 1")) == (1, 0)


def test_what_is_held_of_a_batch_is_shown() -> None:
    """Lines and ids that its sender says it holds are part of what is signed for."""
    body, held = json.dumps(REAL).encode() + b"\n", write_held({1: "a" * 22})
    args = BatchArguments(Manifest.of(body), ("2" * 64,), Manifest.of(held)).as_json()
    lines = shown(Act.CREDENTIAL_ISSUE, args, body, held)
    assert "beside it: what its sender holds of earlier sittings, 1 line" in lines
    assert f"| 1 {'a' * 22}" in lines
    garbled = b"what?\n"
    args = BatchArguments(Manifest.of(body), ("2" * 64,), Manifest.of(garbled)).as_json()
    with pytest.raises(Malformed):
        shown(Act.CREDENTIAL_ISSUE, args, body, garbled)


def test_a_policy_is_shown_to_its_last_line() -> None:
    """The spoof: the rule behind two hundred lines of comment is there, by its number."""
    text = (
        "// nothing\n" * 200
        + "// ---- end of policy; nothing else changed ----\nforbid (principal, action, resource);\n"
    )
    lines = shown(Act.POLICY_SET, {"policy": sha256_hex(text.encode())}, text.encode())
    assert "beside it: the text of a policy, 202 lines" in lines
    assert lines[-1] == "| 202 forbid (principal, action, resource);"


@pytest.mark.parametrize("act", [Act.OPERATOR_ADD, Act.OPERATOR_REPLACE_KEY, Act.OPERATOR_RECOVER])
def test_a_persons_key_is_shown_by_its_thumbprint(act: Act) -> None:
    """The spoof: whoever approves can compare the key before they sign."""
    key = Signer.named("the key that alice made for dora")
    proof = plant.countersignature(key, "dora").encode()
    lines = shown(act, {"person": "dora", "countersignature": sha256_hex(proof)}, proof)
    assert "| person dora" in lines
    assert f"| key {key.kid} (ES256)" in lines or f"| key {key.kid} (Ed25519)" in lines
    assert any(line.startswith("| ends 20") for line in lines)


def test_what_custodians_signed_is_shown_member_by_member() -> None:
    """Each file of a submission by its name; one that no site knows has no rendering, nor has one that is no JSON."""
    body = dumps({"grace": 21600, "windows": [{"exp": 1795087180, "nbf": 1795000780}]})
    digest = sha256_hex(body)
    lines = shown(Act.TRUST_SUBMIT, {"files": {"targets/trust/plan.json": digest}}, body)
    assert "beside it: targets/trust/plan.json, signed by custodians" in lines
    assert "| grace 21600 (6 hours)" in lines
    assert "| windows[0].exp 1795087180 (2026-11-19T11:19:40Z)" in lines
    for file, bad in (("targets/../x", body), ("targets/trust/plan.json", b"{")):
        with pytest.raises(Malformed):
            shown(Act.TRUST_SUBMIT, {"files": {file: sha256_hex(bad)}}, bad)


def test_a_profile_is_said_in_words() -> None:
    """What is set, and what is left out."""
    lines = shown(Act.PROFILE_SET, {"profile": {**plant.profile(), "lifetime": 43200}})
    assert "| profile.lifetime 43200 (12 hours)" in lines
    assert "| profile.refuse_stale false (accepted at a site whose trust is stale)" in lines
    assert "no excludes: it may be held beside any other" in lines


NAMED: dict[Act, tuple[str, bytes]] = {
    Act.WORKLOAD_ENROL: ("enrolment", plant.enrolment(plant.robot()).encode()),
    Act.OPERATOR_ADD: ("countersignature", plant.countersignature(plant.operator("erin"), "erin").encode()),
    Act.OPERATOR_REPLACE_KEY: ("countersignature", plant.countersignature(plant.operator("erin"), "erin").encode()),
    Act.OPERATOR_RECOVER: ("countersignature", plant.countersignature(plant.operator("erin"), "erin").encode()),
    Act.POLICY_SET: ("policy", b"// a text\n"),
}
BESIDE: dict[Act, tuple[dict[str, Json], bytes]] = {
    **{act: ({member: sha256_hex(body)}, body) for act, (member, body) in NAMED.items()},
    Act.CREDENTIAL_ISSUE: (BatchArguments(Manifest.of(spoof())).as_json(), spoof()),
    Act.TRUST_SUBMIT: ({"files": {"metadata/targets.json": sha256_hex(b"{}")}}, b"{}"),
}


@pytest.mark.parametrize("act", Act)
def test_what_travels_beside_an_act_is_shown_or_refused(act: Act) -> None:
    """For every act: whatever it names by a digest has a rendering, and nothing else passes; less, more, or other."""
    args, body = BESIDE.get(act, ({}, b""))
    digests = dict.fromkeys(attachments_named(act, args), body)
    lines = tuple(whole.lines(command(act, args), "alice", digests))
    assert sum(line.startswith("beside it: ") for line in lines) == len(digests)
    more = {**digests, sha256_hex(b"more"): b"more"}
    wrong: list[Mapping[str, bytes]] = [more, *([{}] if digests else [])]
    for beside in wrong:
        with pytest.raises(Malformed):
            tuple(whole.lines(command(act, args), "alice", beside))
    probe: dict[str, Json] = {
        "enrolment": "a" * 64, "countersignature": "a" * 64, "policy": "a" * 64,
        "files": {"metadata/targets.json": "a" * 64},
    }  # fmt: skip
    assert bool(attachments_named(act, probe)) == (act in BESIDE and act is not Act.CREDENTIAL_ISSUE)


@pytest.mark.parametrize("act", [act for act in BESIDE if act is not Act.CREDENTIAL_ISSUE])
def test_bytes_of_no_known_type_have_no_rendering(act: Act) -> None:
    """They are refused: nobody can sign for what nobody can read."""
    for body in (b"\x00\xff", b"\x1b[2J", "\u00e4".encode()):
        digest = sha256_hex(body)
        files: dict[str, Json] = {"files": {"metadata/targets.json": digest}}
        args: dict[str, Json] = files if act is Act.TRUST_SUBMIT else {NAMED[act][0]: digest}
        with pytest.raises(Malformed):
            shown(act, args, body)


def test_what_would_change_is_said() -> None:
    """A policy line by line with both digests; a profile member by member, old and new."""
    lines = [*changes.policy("a\nb\nc\n", "a\nforbid\nc\n")]
    assert lines[:2] == [
        f"the policy in force {sha256_hex(b'a' + bytes([10]) + b'b' + bytes([10]) + b'c' + bytes([10]))}",
        f"the policy asked for {sha256_hex(bytes('a|forbid|c|', 'ascii').replace(b'|', bytes([10])))}",
    ]
    assert "| -b" in lines
    assert "| +forbid" in lines
    assert [*changes.policy("a", "a")][-1] == "they are the same"
    old = Profile.read(Record({**plant.profile()}, "p"), plant.DOMAIN)
    new = Profile.read(Record({**plant.profile(), "lifetime": 60, "requires": ["task"]}, "p"), plant.DOMAIN)
    lines = [*changes.profile(old, new)]
    assert f"| lifetime {old.lifetime} (8 hours) -> 60 (1 minute)" in lines
    assert '| requires (absent) -> ["task"]' in lines
    assert "lifetime" not in lines[-1]
    assert "there is no profile orders-reader now" in [*changes.profile(None, new)]


# -- generated attachments

_BITS = (
    *ours(batch(spoof()))[:12], "  act credential.issue", "  asked by carol", "beside it: a batch of 1 line",
    "every line of it, by its number", " " * 90, "\x1b[2K", "\u202e", "\n", "\r", "|", ": ", "    ", "\\n", '"', "{}",
    json.dumps(DECOY), "\u3164", "e\u0301" * 9, "\u4e2d",
)  # fmt: skip


def attachments(seed: int, count: int) -> Iterator[tuple[Act, dict[str, Json], bytes]]:
    """Give batches, policies and texts of purposes that try to look like lines of ours."""
    chance = random.Random(seed)
    for _ in range(count):
        texts = ["".join(chance.choices(_BITS, k=chance.randint(0, 6))) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.5:
            raw = "\n".join(json.dumps({**REAL, "task": text}) if chance.random() < 0.5 else text for text in texts)
            body = raw.encode("utf-8", "surrogateescape") or b"x"
            yield Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json(), body
        else:
            body = "\n".join(texts).encode("ascii", "replace").translate(None, b"\r\x1b")
            yield Act.POLICY_SET, {"policy": sha256_hex(body), "reason": texts[0]}, body


def check_generated(seed: int, count: int) -> None:
    """Hold every generated attachment to the frame, at five widths: only our own words stand outside the gutter."""
    known, chance = set(_BITS), random.Random(seed)
    for act, args, body in attachments(seed, count):
        lines = shown(act, args, body)
        said = ours(lines)
        assert len(said) == len(set(said) | {""}) or said.count("") <= 2
        assert sum(line.startswith("act ") for line in said) == 1
        assert sum(line.startswith("beside it: ") for line in said) == 1
        for width in (40, 200, *chance.sample(range(41, 200), 3)):
            mine = set(frame.rows(said, width))
            content = [row for line in lines if line.startswith(frame.GUTTER) for row in frame.rows([line], width)]
            assert all(row[:2] in {frame.GUTTER, frame.MORE} and len(row) <= width for row in content)
            assert not mine & set(content)
            assert not known & set(content)


def test_no_generated_content_looks_like_ours() -> None:
    """Whatever stands in an attachment, at any width none of its rows is one of ours."""
    check_generated(1, 250)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_generated_content_looks_like_ours_in_ten_thousand() -> None:
    """Ten thousand attachments, at widths from 40 to 200."""
    check_generated(2, 10_000)


def test_the_largest_batch_is_shown() -> None:
    """As many lines as a batch may have: each of them has its number."""
    lines = batch(b"{}\n" * MAX_LINES)
    assert lines[-1] == f'| {MAX_LINES} cannot be read: "{{}}"'


# -- in a log


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log that has begun."""
    return LogWorld.begin().start()


def enrolled(world: LogWorld) -> int:
    """Let two people enrol the workload; gives the number of the entry by which it waits."""
    seq = world.head.size
    asking, workload = world.enrolling(world.proof(plant.robot()))
    keys: dict[str, Json] = {"key": {**plant.robot().public.jwk()}, "seal": {**plant.sealing().jwk()}}
    members: dict[str, Json] = {**workload, **keys}
    world.asked("workload.enrolled", asking, {"workload": members}, {"workload": plant.WORKLOAD})
    return seq


@pytest.mark.parametrize("form", [1, RENDERING])
def test_logs_of_both_forms_are_intact(begun: LogWorld, form: int) -> None:
    """A log whose entries name no form holds approvals of the first one, and stays what it was."""
    world = begun.copy()
    world.rendering = form
    waits = enrolled(world)
    assert b'"rendering":2' in world.bodies[waits] or form == 1
    verified(world)


def test_a_log_of_an_earlier_release_is_intact() -> None:
    """The worked example as the release before wrote it, approvals of the first form included."""
    body = OLD_LOG.read_bytes()
    assert sha256_hex(body) == "c9b5d171f89c196bd1fe674f4dc0b16b59a6eec0fa7d1bde1d72d541bbd6156c"
    assert b'"rendering"' not in body
    report = exports.verify(io.BytesIO(body), None)
    assert report.entries == 100


@BROKEN.by(LogReason.BAD_COMMAND, "Approvers were shown the command alone, and the entry names the form that has all.")
def _shown_too_little(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, site_args()[0])
    return step(world, lambda: world.wait(asking, shown=first.shown(asking.command, "alice")))


@BROKEN.by(LogReason.BAD_COMMAND, "An approval of the first form is counted for a request of the second.")
def _approved_less(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, site_args()[0]))
    claims = {name: value for name, value in claims_of(world.approval("bob", asking)).items() if name != "rendering"}
    token = plant.operator("bob").token(Typ.APPROVAL, {**claims, "shown": first.shown(asking.command, "alice")})
    world.keep(token.encode())
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.MALFORMED, "There is no third form.")
def _third_form(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, site_args()[0])
    return step(world, lambda: world.wait(asking, rendering=3))


@BROKEN.by(LogReason.BAD_COMMAND, "Something travels beside it that the command does not name.")
def _more_beside(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, site_args()[0])
    return step(world, lambda: world.wait(asking, attachments=[world.keep(b"more")]))


@BROKEN.by(LogReason.BAD_COMMAND, "What people signed for cannot be shown.")
def _unreadable(world: LogWorld) -> int:
    return step(world, lambda: world.enrolling("no document"))


@pytest.mark.parametrize(("breaking", "reason"), BROKEN.rows, ids=name)
def test_each_broken_rule_is_found_at_its_entry(begun: LogWorld, breaking: Breaking, reason: LogReason) -> None:
    """Whatever an engine writes about what nobody was shown."""
    world = begun.copy()
    seq = breaking(world)
    assert refusal(world) == (reason, seq)
