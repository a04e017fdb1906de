"""The answer page: its numbers are those of the tables beside it, and what a report lacks is not claimed."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.report.index import write_index
from tests.report_folders import report_folder, signed

BESIDE = ("count_contributions", "count_words", "special_mass")


MATCHED = ("characters", "word_pieces", "zipf", "n_tokens")


def folder_of(reports, study, *, p=0.001, beside=BESIDE, seed=0, sink=True, model="tiny", alike=()):
    """A report of a founding study, with the tables that the page reads."""
    folder = report_folder(
        reports / study, options={"measure": "count"}, beside=beside, seed=seed, model=model, alike=alike
    )
    (folder / "report.md").write_text("# x")
    heads = pd.read_csv(folder / "heads.csv")
    measures = list(dict.fromkeys(heads["measure"]))
    omnibus = pd.DataFrame({"site": "all", "threshold": 0.9, "measure": measures, "p_sum_squares": p})
    omnibus.to_csv(folder / "omnibus.csv", index=False)
    if sink:
        held = heads[heads["measure"] == "count"][["site", "layer", "head"]]
        held.assign(held="special_mass", p_held_fdr=np.where(np.arange(len(held)) % 2, 0.5, 0.001)).to_csv(
            folder / "sink_held.csv", index=False
        )
    return signed(folder)


def page(reports):
    return write_index(reports).read_text(encoding="utf-8")


def test_the_numbers_are_those_of_the_tables(tmp_path):
    folder = folder_of(tmp_path, "mt40k_matched")
    heads = pd.read_csv(folder / "heads.csv").merge(pd.read_csv(folder / "details.csv"))
    text = page(tmp_path)
    row = next(line for line in text.splitlines() if line.startswith("| [matched lists](mt40k_matched/report.md)"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    for cell, measure in zip(cells[2:], ("count", *BESIDE), strict=True):
        mine = heads[heads["measure"] == measure]
        error = (mine["g_high"] - mine["g_low"]) / (2 * 1.959964)
        size = np.sqrt(max((mine["hedges_g"] ** 2 - error**2).mean(), 0))
        n = int((mine["verdict"] == "different").sum())
        assert cell == f"{n} of {len(mine)}, {size:.2f}"
    count, words = (heads[heads["measure"] == name].reset_index(drop=True) for name in ("count", "count_words"))
    both = (count["verdict"] == "different") & (words["verdict"] == "different")
    same = np.sign(count["hedges_g"]) == np.sign(words["hedges_g"])
    n = int((count["verdict"] == "different").sum())
    lost = n - int(both.sum())
    assert f"| matched lists | {n} | {int((both & same).sum())} | {int((both & ~same).sum())} | {lost} |" in text
    held = pd.read_csv(folder / "sink_held.csv")
    left = int(((count["verdict"] == "different") & (held["p_held_fdr"] < 0.05)).sum())
    assert f"| {left} of {n} (count) |" in text
    more_a = int(((count["verdict"] == "different") & (count["hedges_g"] > 0)).sum())
    assert f"{more_a} have more in concrete and {n - more_a} in abstract" in text
    assert "> In tiny they do in matched lists, some heads one way and some the other." in text


def test_a_test_that_finds_nothing_is_told_so(tmp_path):
    folder_of(tmp_path, "mt40k_matched", p=0.4)
    text = page(tmp_path)
    assert "No difference of the heads together was shown in matched lists (count, *p* = .400)" in text
    assert "> In tiny no difference of the heads together was shown in matched lists." in text
    assert "Together the heads differ" not in text
    assert "omnibus *p* = .400" in text


def test_what_no_report_holds_is_not_claimed_and_named_as_undecided(tmp_path):
    folder_of(tmp_path, "mt40k_matched", beside=(), sink=False)
    text = page(tmp_path)
    for claimed in ("held fixed", "Packings", "**Models**", "Controls", "the other way", "sentences together"):
        assert claimed not in text
    open_questions = text.split("**Undecided**")[1]
    for question in ("only tiny was read", "ALBERT", "untrained network", "TVQA's questions"):
        assert question in open_questions


def test_a_report_whose_tables_are_gone_is_left_out(tmp_path):
    folder = folder_of(tmp_path, "mt40k_matched")
    (folder / "omnibus.csv").unlink()
    signed(folder)
    text = page(tmp_path)
    assert "What is known" not in text
    assert "](mt40k_matched/report.md)" in text


def test_what_was_not_matched_is_no_answer_about_concreteness(tmp_path):
    folder_of(tmp_path, "mt40k_topbotk")
    assert " None of these holds length, frequency and word pieces alike" in page(tmp_path)
    folder_of(tmp_path, "mt40k_matched", seed=1, alike=MATCHED)
    text = page(tmp_path)
    assert " Of these, only matched lists hold length, frequency and word pieces alike." in text
    assert "in pairs that are alike in them" in text


@pytest.mark.parametrize("missing", MATCHED[:3])
def test_what_is_called_matched_and_is_not_alike_is_no_answer_either(tmp_path, missing):
    """A caliper bounds each pair's difference and not its direction: the balance of the run is what counts."""
    folder_of(tmp_path, "mt40k_matched", alike=tuple(name for name in MATCHED if name != missing))
    folder_of(tmp_path, "carrier_pairs", seed=1, alike=MATCHED)
    text = page(tmp_path)
    assert " Of these, only matched nouns in sentences hold length, frequency and word pieces alike." in text
    assert "in pairs that are alike in them" not in text


def test_numbers_that_are_kept_without_their_report_are_answered_with(tmp_path):
    folder = folder_of(tmp_path, "tvqa_answers")
    record = json.loads((folder / "run.json").read_text())
    record["notes"] = [
        "286 of 3,017 correct answers are an entry of the norms",
        "concrete: 56 questions with 38 answers",
    ]
    (folder / "run.json").write_text(json.dumps(record))
    whole = page(tmp_path)
    (folder / "report.md").unlink()
    text = page(tmp_path)
    assert "[TVQA's questions behind their answers](tvqa_answers/report.md)" in whole
    assert "numbers alone" not in whole
    assert "report.md" not in text
    assert "[TVQA's questions behind their answers](tvqa_answers/heads.csv)" in text
    assert "](tvqa_answers/heads.csv) | " in text.partition("## All reports")[2]
    assert "**What was read of TVQA**. [TVQA's questions behind their answers](tvqa_answers/heads.csv): " in text
    assert (
        "concrete: 56 questions with 38 answers. Their reports quote the questions, so that their numbers alone" in text
    )
    (folder / "heads.csv").unlink()
    assert "tvqa_answers" not in page(tmp_path).partition("```sh")[0]


def test_other_studies_get_no_answer(tmp_path):
    folder_of(tmp_path, "metaphors")
    assert page(tmp_path).startswith("# Reports\n\n## All reports")


def test_the_founding_commands_can_be_typed(tmp_path):
    from metastable.cli.arguments import study_parser
    from metastable.cli.models_command import _parser
    from metastable.study.registry import all_studies

    folder_of(tmp_path, "mt40k_matched")
    commands = re.findall(r"^python -m studies (.+)$", page(tmp_path), re.MULTILINE)
    assert len(commands) == 4
    registry = all_studies()
    for command in commands:
        first, *words = command.split()
        if first == "models":
            assert _parser(registry.get(words[0])).read(words[1:])["model"]
        else:
            assert study_parser(registry.get(first)).read(words)["model"]


def test_items_alone_and_with_sentences_are_told_apart(tmp_path):
    folder = folder_of(tmp_path, "carrier_pairs")
    heads = pd.read_csv(folder / "heads.csv")
    heads.assign(p_items_fdr=0.001).to_csv(folder / "heads.csv", index=False)
    signed(folder)
    n = int((heads.loc[heads["measure"] == "count", "verdict"] == "different").sum())
    text = page(tmp_path)
    assert "with the sentences as they are, 12 of 12 heads differ" in text
    assert f"and sentences together {n} (count)" in text


def test_the_command_writes_the_page(tmp_path, capsys):
    folder_of(tmp_path, "mt40k_matched")
    assert main(["answer", "--out", str(tmp_path)], package=studies) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("# Reports\n\n## What is known")
    assert main(["answer", "--out", str(tmp_path / "none")], package=studies) == 2
    assert "holds no report" in capsys.readouterr().err


def test_the_command_names_a_report_whose_tables_are_not_those_it_was_written_with(tmp_path, capsys):
    folder_of(tmp_path, "mt40k_topbotk")
    folder = folder_of(tmp_path, "mt40k_matched")
    (folder / "heads.csv").write_text((folder / "heads.csv").read_text() + "\n")
    assert main(["answer", "--out", str(tmp_path)], package=studies) == 0
    assert "mt40k_matched" in capsys.readouterr().out
    assert "matched lists" not in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("study", ["mt40k_topbotk", "mt40k_matched"])
def test_a_damaged_record_stops_nobody(tmp_path, study):
    folder_of(tmp_path, study)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text(json.dumps({"title": "x"}))
    (tmp_path / "damaged" / "report.md").write_text("# x")
    assert "What is known" in page(tmp_path)
