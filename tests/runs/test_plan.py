"""Planning a study: from a pilot's heads and by formula, typed and in Python."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import metastable
import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.stats.power_formulas import formula_sample_size

pytestmark = pytest.mark.usefixtures("undrawn_figures")

NEAR = ["apple", "bridge", "candle", "desert", "engine", "forest", "garden", "hammer", "island", "jacket"]
FAR = ["idea", "hope", "truth", "theory", "justice", "reason", "belief", "doubt", "honor", "mercy"]
FRAMES = ("They think that the {} is near", "We spoke of the {} again today", "Nobody knew the {} at all", "A {} stays")


def _text(rng, words, n):
    return "the " + " and the ".join(rng.choice(words, n, replace=False))


def _table(**labels):
    rng = np.random.default_rng(0)
    rows = [
        {"condition": name, "text": _text(rng, words, 4 + i % 3), **{k: f(name, i) for k, f in labels.items()}}
        for name, words in (("near", NEAR), ("far", FAR))
        for i in range(24)
    ]
    return pd.DataFrame(rows)


TABLES = {
    "two": _table(),
    "pairs": _table(pair=lambda _, i: f"p{i}"),
    "clusters": _table(cluster=lambda name, i: f"{name}{i // 3}"),
    "contexts": pd.DataFrame(
        [
            {"condition": name, "pair": f"i{i}", "context": f"f{k}", "text": frame.format(words[i])}
            for i in range(10)
            for name, words in (("near", NEAR), ("far", FAR))
            for k, frame in enumerate(FRAMES)
        ]
    ),
    "slope": _table(predictor=lambda name, i: i * 0.1 + (name == "far")).drop(columns="condition"),
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Folder with a pilot of each design, and the files they were made from."""
    folder = tmp_path_factory.mktemp("pilots")
    for name, table in TABLES.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def pilots(out):
    made = {}

    def pilot(name):
        if name not in made:
            made[name] = metastable.run(out / f"{name}.csv", progress=False, permutations=999, out=out)
        return made[name]

    return pilot


def _plan(out, name, **options):
    return metastable.plan(out / f"{name}.csv", progress=False, out=out, simulations=200, **options)


@pytest.mark.parametrize("name", ["two", "pairs", "clusters"])
def test_the_plan_gives_back_the_pilots_size_for_the_power_that_its_report_states(out, pilots, name):
    curve = pilots(name).found.sensitivity.curve
    row = curve.iloc[(curve["power"] - 0.7).abs().argmin()]
    table = _plan(out, name, effect=row["effect"], power=row["power"], permutations=999).table.set_index("test")
    assert table.loc["corrected", "n_a"] == pytest.approx(pilots(name).found.contrast.n_a, rel=0.25)


def test_over_contexts_the_plan_agrees_with_the_report(out, pilots):
    report = pilots("contexts").report.read_text(encoding="utf-8")
    stated = float(re.search(r"finds an effect of \|\*g\*\| = \*\*([\d.]+)\*\*", report).group(1))
    found = _plan(out, "contexts", effect=stated + 0.006, contexts=4)
    assert found.table.set_index("test").loc["formula", "n_a"] == 10
    assert any(f"finds g = {stated:.2f}" in text for text in found.assumptions)
    fewer = _plan(out, "contexts", effect=stated - 0.1, contexts=4).table.set_index("test")
    assert fewer.loc["formula", "n_a"] > 10
    several = _plan(out, "contexts", effect=stated).table
    assert several["contexts"].tolist() == [4, 4, 8, 8]
    assert any("contexts or more, however many pairs" in text for text in found.assumptions)


def test_a_slope_is_planned_as_its_report_states_its_sensitivity(out, pilots):
    report = pilots("slope").report.read_text(encoding="utf-8")
    stated = float(re.search(r"true effect is \|\*d\*\| = \*\*([\d.]+)\*\*", report).group(1))
    table = _plan(out, "slope", effect=stated).table.set_index("test")
    assert table.loc["bonferroni", "n_a"] == pytest.approx(48, abs=2)


def test_more_texts_of_each_cluster_need_no_more_clusters(out, pilots):
    pilots("clusters")
    few, many = (
        _plan(out, "clusters", effect=0.8, per_cluster=m).table.set_index("test").loc["formula", "n_a"] for m in (1, 30)
    )
    assert many < few
    assert "intraclass correlation" in " ".join(_plan(out, "clusters", effect=0.8).assumptions)


def test_without_a_pilot_the_formula_is_pingouins(tmp_path):
    found = metastable.plan(
        "null_split", effect=(0.5, 0.8), heads=20, power=0.9, progress=False, out=tmp_path, simulations=100
    )
    table = found.table.set_index(["effect", "test"])
    for effect in (0.5, 0.8):
        assert table.loc[(effect, "formula"), "n_a"] == formula_sample_size("two", effect, power=0.9)
        strict = formula_sample_size("two", effect, power=0.9, alpha=0.05 / 20)
        assert table.loc[(effect, "bonferroni"), "n_a"] == strict
    assert any("pingouin" in text for text in found.assumptions)
    assert any("independent" in text for text in found.assumptions)
    written = found.report.read_text(encoding="utf-8")
    assert all(text in written for text in found.assumptions)
    assert (found.report.parent / "figures" / "plan.png").is_file()
    pd.testing.assert_frame_equal(pd.read_csv(found.report.with_name("plan.csv")), found.table)
    assert found.figure(0.8).axes[0].get_ylabel() == "power"
    assert "20 heads tested together" in str(found)
    assert "<table" in found._repr_html_()
    with pytest.raises(InputError, match=r"there are 0\.5, 0\.8"):
        found.figure(0.3)


def test_pairs_without_a_pilot_rest_on_the_correlation_of_partners(tmp_path):
    def of(r):
        found = metastable.plan(
            TABLES["pairs"], partners=r, effect=0.5, heads=5, progress=False, out=tmp_path, simulations=100
        )
        return found.table.set_index("test").loc["formula", "n_a"]

    assert of(0.5) == formula_sample_size("paired", 0.5)
    assert of(0.9) < of(0.5) < of(0.0)


def test_the_number_of_heads_is_that_of_the_model(tmp_path):
    found = metastable.plan("null_split", effect=1.0, progress=False, out=tmp_path, simulations=100)
    assert found.found.n_heads == 72


def test_the_smallest_effect_is_the_claims_or_the_margin(tmp_path):
    found = metastable.plan("null_split", progress=False, heads=3, out=tmp_path, simulations=100)
    claimed = [c.smallest_effect for c in studies.null_split.STUDY.claims if c.smallest_effect]
    assert found.table["effect"].unique().tolist() == [min(claimed) if claimed else 0.2]


def test_several_conditions_are_planned_by_the_formula_of_their_test(tmp_path):
    table = pd.concat([TABLES["two"], TABLES["two"].iloc[:24].assign(condition="other")])
    found = metastable.plan(table, effect=0.6, heads=10, progress=False, out=tmp_path).table.set_index("test")
    assert found.loc["formula", "n_a"] == formula_sample_size("several", 0.6, n_conditions=3)


def test_a_seed_gives_one_plan(tmp_path):
    def table():
        return metastable.plan("null_split", effect=0.7, heads=8, progress=False, out=tmp_path, simulations=100).table

    pd.testing.assert_frame_equal(table(), table())


@pytest.mark.parametrize(
    ("study", "options", "words"),
    [
        ("null_split", {"effect": 0.0}, "effect=0.0: no number of units"),
        ("null_split", {"power": 1.0}, "power=1.0: no number of units finds an effect always"),
        ("null_split", {"effects": 0.3}, "did you mean 'effect'"),
        ("null_split", {"per_cluster": 3}, "no clusters"),
        ("carrier_pairs", {}, "only a pilot tells"),
        ("nul_split", {}, "did you mean 'null_split'"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_is_written(tmp_path, study, options, words):
    with pytest.raises(InputError, match=words):
        metastable.plan(study, progress=False, out=str(tmp_path), **options)
    assert not list(tmp_path.iterdir())


def test_clusters_without_a_pilot_are_refused(tmp_path):
    with pytest.raises(InputError, match="how alike the texts of a cluster are"):
        metastable.plan(TABLES["clusters"], name="no_pilot", progress=False, out=tmp_path)


def test_a_pilot_of_another_study_or_of_other_material_is_refused(out, pilots, tmp_path):
    pilots("two")
    with pytest.raises(InputError, match="is a run of two, not of pairs"):
        _plan(out, "pairs", pilot=out / "two")
    changed = tmp_path / "two.csv"
    TABLES["two"].assign(text=TABLES["two"]["text"].str.upper()).iloc[::-1].to_csv(changed, index=False)
    with pytest.raises(InputError, match="other material"):
        metastable.plan(changed, pilot=out / "two", progress=False, out=tmp_path)
    with pytest.raises(InputError, match=r"the pilot in .* tells it"):
        _plan(out, "two", heads=5)


def test_a_report_without_its_cube_is_no_pilot_and_the_plan_says_so(tmp_path):
    ran = metastable.run("null_split", k=40, permutations=99, progress=False, out=tmp_path)
    (ran.report.parent / "counts.zarr").rename(tmp_path / "elsewhere")
    found = metastable.plan("null_split", effect=1.0, heads=4, progress=False, out=tmp_path, simulations=100)
    assert found.found.pilot is None
    assert any("is no pilot, since its cube" in text for text in found.assumptions)
    with pytest.raises(InputError, match="is gone"):
        metastable.plan("null_split", pilot=tmp_path / "null_split", progress=False, out=tmp_path)


def test_the_command_says_what_python_does(out, pilots, capsys):
    pilots("pairs")
    arguments = ["plan", str(out / "pairs.csv"), "--effect", "0.7", "--out", str(out), "--simulations", "200"]
    assert main(arguments, package=studies) == 0
    said = capsys.readouterr().out
    assert "python -m studies plan" in (out / "pairs" / "plan.md").read_text(encoding="utf-8")
    table = _plan(out, "pairs", effect=0.7).table
    assert all(f"{n:,.0f}" in said for n in table["n_a"])
    assert "drawn with replacement from the pilot's units" in " ".join(said.split())
    assert f"metastable.plan('{out}/pairs.csv', " in (out / "pairs" / "plan.md").read_text(encoding="utf-8")


def test_words_of_several_packings_are_planned_from_a_pilot(tmp_path):
    ran = metastable.run("mt40k_topbotk", k=60, packings=2, permutations=199, progress=False, out=tmp_path)
    assert ran is not None
    found = metastable.plan("mt40k_topbotk", effect=0.6, progress=False, out=tmp_path, simulations=100)
    assert found.found.unit == ran.found.contrast.unit
    assert np.isfinite(found.table["n_a"]).all()
