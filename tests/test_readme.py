"""The numbers that the README quotes are those of the reports that it links to."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metastable.report.apa import format_r

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"
TEXT = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def effects(name: str, measure: str) -> pd.Series:
    """Hedges' g of every head of a report in one measure."""
    heads = pd.read_csv(REPORTS / name / "heads.csv")
    return heads[heads["measure"] == measure].set_index(["layer", "head"])["hedges_g"]


def correlation(one: pd.Series, other: pd.Series) -> str:
    return format_r(float(np.corrcoef(one, other.reindex(one.index))[0, 1]))


@pytest.mark.parametrize(
    ("quoted", "report"),
    [
        (r"\[matched words\]\(reports/mt40k_matched/report\.md\) too \((\d+) of (\d+)\)", "mt40k_matched"),
        (r"\[matched nouns [^\]]+\]\(reports/carrier_pairs/report\.md\) together \((\d+) of (\d+)\)", "carrier_pairs"),
    ],
)
def test_the_heads_that_differ_are_those_of_the_verdict(quoted, report):
    found = re.search(quoted, TEXT)
    assert found is not None
    verdict = json.loads((REPORTS / report / "run.json").read_text(encoding="utf-8"))["verdict"]
    assert tuple(map(int, found.groups())) == (verdict["different"], verdict["heads"])


def test_the_correlations_are_those_of_the_maps():
    raw = {name: effects("mt40k_topbotk", name) for name in ("count", "count_words", "special_mass")}
    assert f"that of their mass (*r* = {correlation(raw['count'], raw['special_mass'])})" in TEXT
    assert f"count over the words alone (*r* = {correlation(raw['count'], raw['count_words'])})" in TEXT
    handed = [effects(name, "count_contributions") for name in ("mt40k_topbotk", "mt40k_matched")]
    assert f"reports/compare_mt40k_topbotk_mt40k_matched/report.md) in it (*r* = {correlation(*handed)})" in TEXT


def test_special_tokens_hold_more_than_half_of_the_attention():
    assert "Special tokens hold more than half of it" in TEXT
    heads = pd.read_csv(REPORTS / "mt40k_topbotk" / "heads.csv")
    mass = heads[heads["measure"] == "special_mass"]
    assert min(mass["mean_a"].mean(), mass["mean_b"].mean()) > 0.5


def test_untrained_networks_show_nothing():
    assert "five [untrained networks](reports/mt40k_matched_models/report.md) show nothing" in TEXT
    record = json.loads((REPORTS / "mt40k_matched_models" / "run.json").read_text(encoding="utf-8"))
    own = record["verdict"]["measures"][0]
    assert own["n_untrained"] == 5
    assert own["untrained_size"] < 0.005
