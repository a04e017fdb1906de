"""Claims and recipe frozen before a run, and what the report then says."""

import json
from dataclasses import replace

import pytest

import metastable
import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.heads.frozen import freeze, frozen_note, read_frozen, sequences_hash
from metastable.study import Claim, Condition, Material, Sequence, Study
from metastable.study.own_options import options_for

pytestmark = pytest.mark.usefixtures("undrawn_figures")

RUN = ["null_split", "--k", "60", "--permutations", "99"]

STUDY = Study(
    "s",
    "T",
    "Q?",
    (Condition("a", "one"), Condition("b", "two")),
    build=lambda options, tokenizer: Material(()),
    claims=(Claim(statement="some differ", direction="less"),),
)
SEQUENCES = tuple(Sequence(f"s{i}", "ab"[i % 2], ("w",), "w", (1, i, 2), (-1, 0, -1)) for i in range(4))


def section(out):
    return (out / "null_split" / "report.md").read_text().split("## What was claimed")[1].split("\n## ")[0]


def test_only_a_frozen_study_is_said_to_be_claimed_before(tmp_path, capsys):
    assert main(["freeze", *RUN, "--out", str(tmp_path)], package=studies) == 0
    said = " ".join(capsys.readouterr().out.split())
    record = json.loads((tmp_path / "null_split" / "frozen.json").read_text())
    assert f"SHA-256 {record['sha256']}" in said
    assert "claimed: no head differs" in said
    assert "run it with: python -m studies null_split --k 60" in said
    assert main([*RUN, "--out", str(tmp_path)], package=studies) == 0
    assert f"(SHA-256 {record['sha256'][:12]}…" in section(tmp_path)
    assert "before anything was counted in this folder, and the run keeps to them" in section(tmp_path)
    # what was counted cannot be claimed before
    assert main(["freeze", *RUN, "--out", str(tmp_path)], package=studies) == 2
    assert "holds a report of null_split already" in " ".join(capsys.readouterr().err.split())
    # and what is done otherwise is named
    assert main([*RUN, "--alpha", "0.04", "--out", str(tmp_path)], package=studies) == 0
    assert "the run keeps to them" not in section(tmp_path)
    assert "this run does not keep to them: it differs in --alpha." in section(tmp_path)
    written = json.loads((tmp_path / "null_split" / "run.json").read_text())
    assert written["frozen"]["differing"] == ["--alpha"]
    assert [claim["outcome"] for claim in written["claims"]] == ["not supported"]


def test_without_it_the_report_says_that_nothing_shows_when_it_was_claimed(tmp_path):
    found = metastable.run("null_split", progress=False, k=60, permutations=99, out=str(tmp_path))
    assert "nothing shows that they were made before the run" in section(tmp_path)
    assert "freeze null_split` records them beforehand" in section(tmp_path)
    assert found.found.record.frozen is None


def made(study=STUDY, **options):
    return freeze(study, options_for(study, **options), SEQUENCES, command="freeze s", commit=None, at="2020-01-01")


@pytest.mark.parametrize(
    ("study", "options", "sequences", "differing"),
    [
        (STUDY, {}, SEQUENCES, ()),
        (STUDY, {"out": "elsewhere", "batch_tokens": 64, "device": "cpu"}, SEQUENCES, ()),
        (STUDY, {"seed": 21, "threshold": (0.9, 0.5)}, SEQUENCES, ("--threshold", "--seed")),
        (replace(STUDY, claims=(Claim(statement="some differ"),)), {}, SEQUENCES, ("the claims",)),
        (replace(STUDY, measure="count"), {}, SEQUENCES, ("the study's own measure",)),
        (STUDY, {}, SEQUENCES[:3], ("what the model reads",)),
        (STUDY, {}, (*SEQUENCES[:3], replace(SEQUENCES[3], condition="a")), ("what the model reads",)),
        (STUDY, {}, (*SEQUENCES[:3], replace(SEQUENCES[3], cluster="c")), ("what the model reads",)),
    ],
)
def test_what_a_run_does_otherwise_is_named(study, options, sequences, differing):
    assert frozen_note(made(), study, options_for(study, **options), sequences).differing == differing


def test_a_record_that_was_changed_is_refused(tmp_path):
    (tmp_path / "frozen.json").write_text(json.dumps(made().to_json()))
    assert read_frozen(tmp_path) == replace(made(), options=read_frozen(tmp_path).options)
    changed = made().to_json()
    changed["claims"][0]["direction"] = "greater"
    (tmp_path / "frozen.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="was changed after it was frozen"):
        read_frozen(tmp_path)
    (tmp_path / "frozen.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_frozen(tmp_path)


def test_nothing_frozen_is_nothing(tmp_path):
    assert read_frozen(tmp_path) is None
    assert sequences_hash(SEQUENCES) != sequences_hash(SEQUENCES[::-1])
