"""One long text among many short ones: a report that says so, and heads whose modes stay."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main

pytestmark = pytest.mark.usefixtures("undrawn_figures")

WORDS = {
    "concrete": [
        "river",
        "stone",
        "window",
        "bread",
        "candle",
        "horse",
        "bridge",
        "spoon",
        "apple",
        "hammer",
        "lake",
        "shirt",
    ],
    "abstract": [
        "justice",
        "hope",
        "mercy",
        "logic",
        "virtue",
        "belief",
        "theory",
        "essence",
        "notion",
        "freedom",
        "irony",
        "truth",
    ],
}


def rows():
    rng = np.random.default_rng(3)
    return [
        (name, " ".join(rng.choice(words, rng.integers(6, 14)))) for name, words in WORDS.items() for _ in range(25)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("mixed")
    long = ("concrete", " ".join(np.random.default_rng(4).choice(WORDS["concrete"], 104)))
    for name, texts in (("short", rows()), ("long", [*rows(), long])):
        with (made / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("condition", "text"), *texts])
        options = ["--measure", "count", "--csv", str(made / f"{name}.csv"), "--permutations", "99", "--out", str(made)]
        assert main(["run", *options], package=studies) == 0
    return made


def test_the_long_text_is_named_with_the_typical_effect_without_it(folders):
    report = (folders / "long" / "report.md").read_text(encoding="utf-8")
    warning = next(line for line in report.splitlines() if "far longer" in line)
    assert "One sequence is far longer than the others: concrete-row-0052 (106 tokens)" in warning
    assert "With --measure share each count is divided by the number of keys" in warning.replace("\\", "")
    typical = {
        name: pd.read_csv(folders / name / "heads.csv").query("measure == 'count'")["hedges_g"].abs().median()
        for name in ("short", "long")
    }
    assert typical["long"] < 0.7 * typical["short"]
    # without the long text's sequence the effects are those of the short texts alone
    assert f"is {typical['long']:.2f} with it and {typical['short']:.2f} without it" in warning
    assert "far longer" not in (folders / "short" / "report.md").read_text(encoding="utf-8")


def test_no_head_falls_into_another_mode_for_one_long_text(folders):
    short, long = (pd.read_csv(folders / name / "modes.csv") for name in ("short", "long"))
    assert long["most_keys"].unique().tolist() == [106]
    assert (short["mode"] == long["mode"]).mean() > 0.9
    assert set(long["mode"]) >= {"I", "II", "III"}
    assert (long["mode"] == "IV").sum() == 0


def test_the_figures_say_that_their_axis_is_a_share(folders):
    report = (folders / "long" / "report.md").read_text(encoding="utf-8")
    assert report.count("so that each count is a share of the keys that its query sees") == 2
    assert "of the keys that a query sees, usually" in report
    assert "| I | averages over very many | above 50% |" in report
