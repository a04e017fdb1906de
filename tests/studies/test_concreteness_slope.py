"""The slope of attention over concreteness on real words with the bundled encoder."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import metastable
import studies
from metastable.cli import main
from metastable.heads.cube import feature_table, unit_means
from metastable.material.norms import load_norms
from metastable.models.encoders import load_tokenizer
from metastable.stats.analysis import of_primary_measure
from metastable.stats.effect_kinds import SLOPE, head_columns
from metastable.study.own_options import options_for
from studies.concreteness_slope import STUDY

pytestmark = pytest.mark.usefixtures("undrawn_within")

ARGUMENTS = ["concreteness_slope", "--words", "900", "--bands", "10", "--permutations", "300"]
HELD = ["word_pieces", "characters", "zipf"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    assert main([*ARGUMENTS, "--out", str(folder)], package=studies) == 0
    return folder


@pytest.fixture(scope="module")
def folder(reports):
    return reports / "concreteness_slope"


@pytest.fixture(scope="module")
def heads(folder):
    return of_primary_measure(pd.read_csv(folder / "heads.csv"))


@pytest.fixture(scope="module")
def sequences(folder):
    return pd.read_parquet(folder / "sequences.parquet")


@pytest.fixture(scope="module")
def values(folder):
    cube = metastable.load_counts(folder / "counts.zarr")
    return unit_means(cube, feature_table(cube), 0.9, "count_contributions")


@pytest.fixture(scope="module")
def report(folder):
    return (folder / "report.md").read_text()


def options(**given):
    return options_for(STUDY, words=600, bands=5, **given)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("all-MiniLM-L6-v2")


def test_sequences_are_homogeneous_in_rating(sequences):
    scaled = load_norms().table.set_index("word")["scaled"]
    ratings = [scaled[text.split(" ")].to_numpy() for text in sequences["text"]]
    np.testing.assert_allclose(sequences["rating"], [rating.mean() for rating in ratings])
    within = np.sqrt(np.mean(np.concatenate([(rating - rating.mean()) ** 2 for rating in ratings])))
    assert within < 0.2 * sequences["rating"].std()
    # halves by rating, and within a band no order by rating is left
    concrete = sequences["condition"] == "concrete"
    assert sequences.loc[concrete, "rating"].min() > sequences.loc[~concrete, "rating"].max() - 0.02
    falls = np.diff(np.concatenate(ratings)) < 0
    assert 0.3 < falls.mean() < 0.7
    assert (sequences["n_tokens"] <= 20).all()


def test_the_words_are_a_seeded_draw(tokenizer):
    first, again, other = (STUDY.build(options(seed=seed), tokenizer) for seed in (20, 20, 21))
    assert [s.text for s in first.sequences] == [s.text for s in again.sequences]
    words = [{word for s in material.sequences for word in s.words} for material in (first, other)]
    assert len(words[0]) > 580
    assert len(words[0] & words[1]) < 60
    assert any("600 of 37,058 words, drawn at random" in note for note in first.notes)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--words", "40000"], "--words 40000: the norms hold 37,058 words"),
        (["--words", "100", "--bands", "60"], "--bands 60: 100 words make at most 50 bands"),
        (
            ["--words", "300", "--covariates", "age"],
            "--covariates age: there is no such covariate; choose among tokens",
        ),
        (["--words", "300", "--covariates", "rating"], "--covariates rating: there is no such covariate"),
        (["--words", "200", "--max-length", "600"], "--max-length 600"),
    ],
)
def test_bad_options_are_named(given, complaint, tmp_path, capsys):
    assert main(["concreteness_slope", *given, "--out", str(tmp_path)], package=studies) == 2
    assert complaint in capsys.readouterr().err


def test_heads_hold_the_adjusted_slopes(heads, folder, sequences, values):
    assert tuple(heads.columns) == head_columns(SLOPE)
    assert not {"hedges_g", "difference"} & set(heads.columns)
    details = of_primary_measure(pd.read_csv(folder / "details.csv"))
    for names, which in ((["rating", *HELD], "adjusted"), (["rating"], "unadjusted")):
        design = sm.add_constant(sequences[names])
        fits = [sm.OLS(column, design).fit(cov_type="HC3", use_t=True) for column in values.T]
        np.testing.assert_allclose(details[f"slope_{which}"], [fit.params["rating"] for fit in fits], atol=1e-9)
        intervals = np.array([fit.conf_int().loc["rating"] for fit in fits])
        np.testing.assert_allclose(details[f"ci_low_{which}"], intervals[:, 0], atol=1e-9)
    np.testing.assert_array_equal(heads["slope"], details["slope_adjusted"])
    concrete = (sequences["condition"] == "concrete").to_numpy()
    np.testing.assert_allclose(heads["mean_a"], values[concrete].mean(axis=0))
    # the mixed model on the tokens agrees about the slope
    assert np.corrcoef(heads["lmm_estimate"], heads["slope"])[0, 1] > 0.99


def test_words_of_graded_concreteness_give_slopes(heads):
    assert 10 < (heads["verdict"] == "different").sum() < 72
    strongest = heads.loc[heads["partial_d"].abs().idxmax()]
    assert (strongest["layer"], strongest["head"]) == (6, 11)
    assert strongest["ci_low"] > 2


def test_the_report_speaks_of_slopes(report, folder, heads):
    opening = report.split("## What was claimed")[0]
    up = int(((heads["verdict"] == "different") & (heads["slope"] > 0)).sum())
    down = int(((heads["verdict"] == "different") & (heads["slope"] < 0)).sum())
    assert "As the concreteness rating rises, with word pieces, characters and Zipf frequency held fixed, " in opening
    assert f"spreads wider in {up} of 72 heads and narrower in {down} " in opening
    assert "over the whole scale of the concreteness rating, 0 to 1" in opening
    assert re.search(r"characters per word \(r = −\.\d\d\)", opening)
    assert "slope [95%\u00a0CI]" in report
    assert "| difference [95%" not in report
    assert "Unadjusted, " in report
    assert "leave " in report
    assert "rating + word_pieces + characters + zipf + (1 | sequence)" in report
    assert "flipping the signs of the residuals of the model without it" in report
    assert "is found with 80% power" in report
    assert not re.search(r"\bnan\b", report)
    for stem in ("slopes", "slopes_adjusted", "adjustment", "summary", "difference", "layers"):
        assert report.count(f"](figures/{stem}.png)") == 1
        assert (folder / "figures" / f"{stem}.png").stat().st_size > 1000
    captions = [line for line in report.splitlines() if re.fullmatch(r"\*[^*].*\*", line)]
    assert not [line for line in captions if line.count("*") > 2]
    record = json.loads((folder / "run.json").read_text())["verdict"]
    assert record["sentence"].startswith("As the concreteness rating rises")
    assert record["different"] == up + down


def test_nothing_held_fixed(reports, folder, values, sequences, heads, capsys):
    details = of_primary_measure(pd.read_csv(folder / "details.csv"))
    assert main([*ARGUMENTS, "--covariates", "none", "--out", str(reports)], package=studies) == 0
    assert "reused" in capsys.readouterr().out
    bare = of_primary_measure(pd.read_csv(folder / "heads.csv"))
    np.testing.assert_array_equal(bare["slope"], details["slope_unadjusted"])
    assert (bare["slope"] - heads["slope"]).abs().max() > 0.5
    text = (folder / "report.md").read_text()
    assert "held fixed (residuals flipped; not the tests of this report)" in text
    assert "The tests hold nothing fixed." in text
    assert "slopes_adjusted" not in text
