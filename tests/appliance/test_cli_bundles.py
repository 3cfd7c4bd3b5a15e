"""`bundle create --from-checkpoint`: what a site holds is carried back, and the next bundle proves it (R38)."""

from pathlib import Path

from coldcred import framing, layout
from coldcred.log import consistency
from tests.support.commandline import coldcred
from tests.support.founded import SITE, Plant


def test_a_checkpoint_is_carried_back(served: Plant, tmp_path: Path) -> None:
    """The store's file, or a bundle that it came in, gives a bundle with a proof from it; the site takes that."""
    first, again = tmp_path / "first", tmp_path / "again"
    served.done("bundle", "create", "--site", SITE, "--out", first, who="alice")
    root = served.folder / "root.json"
    found = coldcred("bundle", "inspect", first, "--json").json
    trust = tmp_path / "trust"
    made = coldcred("site", "init", trust, "--root", root, "--fingerprint", found["root"], "--site", SITE)
    assert made.code == 0, made
    assert coldcred("bundle", "apply", first, "--trust", trust).code == 0
    line: list[str | Path] = ["bundle", "create", "--site", SITE, "--out", again]
    for file in (first, trust / "current" / layout.CHECKPOINT):
        served.done(*line, "--from-checkpoint", file, who="alice")
        proofs = consistency.parse(framing.read(again.read_bytes(), framing.BUNDLE)[layout.CONSISTENCY])
        assert found["log_size"] in [proof.size for proof in proofs]
    assert coldcred("bundle", "apply", again, "--trust", trust).code == 0
    assert coldcred("bundle", "evidence", "--trust", trust).out.startswith("no bundle has contradicted")


def test_what_holds_no_checkpoint_is_not_sent(served: Plant, tmp_path: Path) -> None:
    """Another file, or none, is misuse, and asks nothing of the appliance."""
    other = tmp_path / "other"
    other.write_bytes(b"no checkpoint")
    line: list[str | Path] = ["bundle", "create", "--site", SITE, "--out", tmp_path / "out"]
    for file in (other, tmp_path / "none", tmp_path):
        ended = served.ctl(*line, "--from-checkpoint", file, who="alice")
        assert ended.code == 2, ended
    assert not (tmp_path / "out").exists()
