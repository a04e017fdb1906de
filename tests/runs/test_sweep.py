"""Sweeps on real words with the bundled encoder and with random models, against independent recomputation."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import metastable
import studies
from metastable.cli import main
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.sweep_axes import read_sweep
from metastable.material.texts import read_texts, text_study
from metastable.report.sweep.sentences import verdict
from metastable.runs import sweep as sweep_run
from metastable.runs.sweep import run_sweep
from metastable.runs.sweep_plan import EncoderShelf
from tests.model_folders import model_folder

ARGUMENTS = ["sweep", "mt40k_topbotk", "--k", "120,200", "--threshold", "0.5,0.9", "--permutations", "200"]
FOLDER = "mt40k_topbotk_sweep"


def run(*arguments, out):
    return main([*arguments, "--out", str(out)], package=studies)


@pytest.fixture(scope="module")
def shelf():
    return EncoderShelf()


@pytest.fixture
def quick(shelf, monkeypatch):
    """Draw no figures, and load the bundled model once for all sweeps."""
    monkeypatch.setattr(sweep_run, "EncoderShelf", lambda: shelf)
    monkeypatch.setattr("metastable.report.sweep.page.save_plates", lambda *_: None)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    assert run(*ARGUMENTS, out=folder) == 0
    return folder


@pytest.fixture(scope="module")
def folder(reports):
    return reports / FOLDER


@pytest.fixture(scope="module")
def heads(folder):
    return pd.read_csv(folder / "heads.csv")


@pytest.fixture(scope="module")
def settings(folder):
    return pd.read_csv(folder / "settings.csv")


def test_heads_of_all_settings_are_one_family(heads):
    assert len(heads) == 4 * 72
    for column, p in (("p_perm_fdr", "p_perm"), ("lmm_p_fdr", "lmm_p"), ("p_tost_fdr", "p_tost")):
        np.testing.assert_allclose(heads[column], stats.false_discovery_control(heads[p]), rtol=1e-12)
    alone = heads.groupby("setting")["p_perm"].transform(stats.false_discovery_control)
    np.testing.assert_allclose(heads["p_perm_fdr_setting"], alone, rtol=1e-12)
    assert (heads["p_perm_fdr"] - heads["p_perm_fdr_setting"]).abs().max() > 0
    expected = np.select(
        [heads["p_perm_fdr"] < 0.05, heads["p_tost_fdr"] < 0.05], ["different", "equivalent"], "undecided"
    )
    np.testing.assert_array_equal(heads["verdict"], expected)


def test_settings_are_the_product_and_corrected_by_holm(settings, heads):
    assert settings[["k", "threshold"]].to_numpy().tolist() == [[120, 0.5], [120, 0.9], [200, 0.5], [200, 0.9]]
    p = settings["omnibus_p"].to_numpy()
    order = np.argsort(p, kind="stable")
    holm = np.empty(4)
    holm[order] = np.minimum(np.maximum.accumulate(p[order] * [4, 3, 2, 1]), 1)
    np.testing.assert_allclose(settings["omnibus_p_holm"], holm)
    for row in settings.to_dict("records"):
        mine = heads[heads["setting"] == row["setting"]]
        assert set(mine["k"]) == {row["k"]}
        assert row["n_different"] == (mine["verdict"] == "different").sum()
        assert row["median_abs_g"] == pytest.approx(np.median(np.abs(mine["hedges_g"])))
        top = mine.loc[mine["hedges_g"].abs().idxmax()]
        assert (row["largest_layer"], row["largest_head"], row["largest_g"]) == (
            top["layer"],
            top["head"],
            top["hedges_g"],
        )
    assert settings.loc[settings["k"] == 120, "n_a"].max() < settings.loc[settings["k"] == 200, "n_a"].min()


def test_statistics_are_those_of_the_cubes(folder, heads, settings):
    recipe = json.loads((folder / "run.json").read_text())
    for one, threshold, number in ((recipe["runs"][0], 0.5, 1), (recipe["runs"][1], 0.9, 4)):
        cube = metastable.load_counts(folder / "cubes" / f"{one['counts'][:16]}.zarr")
        values = unit_means(cube, feature_table(cube), threshold)
        concrete = np.char.startswith(cube["sequence"].to_numpy(), "concrete")
        # scipy divides rounding by rounding where a head never varies
        varies = values.std(axis=0) > 1e-9
        t = stats.ttest_ind(values[concrete][:, varies], values[~concrete][:, varies], equal_var=False).statistic
        mine = heads[heads["setting"] == number]
        np.testing.assert_allclose(mine["statistic"][varies], t, rtol=1e-9)
        assert varies.sum() > 60
        assert settings.loc[number - 1, ["n_a", "n_b"]].tolist() == [concrete.sum(), (~concrete).sum()]


def test_stability_follows_each_head_over_the_settings(folder, heads):
    table = pd.read_csv(folder / "stability.csv")
    assert len(table) == 72
    for row in table.sample(10, random_state=0).to_dict("records"):
        g = heads[(heads["layer"] == row["layer"]) & (heads["head"] == row["head"])]
        assert row["n_different"] == (g["verdict"] == "different").sum()
        assert row["same_sign"] == (abs(np.sign(g["hedges_g"]).sum()) == 4)
        assert (row["g_least"], row["g_most"]) == (g["hedges_g"].min(), g["hedges_g"].max())


def test_thresholds_share_one_extraction(folder):
    recipe = json.loads((folder / "run.json").read_text())
    assert len(list((folder / "cubes").iterdir())) == 2
    assert len({one["counts"] for one in recipe["runs"]}) == 2
    assert recipe["axes"] == {"k": [120, 200], "threshold": [0.5, 0.9]}


def test_the_report_opens_with_how_stable_the_result_is(folder, settings, heads):
    report = (folder / "report.md").read_text()
    assert (folder / "report.html").read_text().count('src="data:image/png') == report.count("![") > 0
    opening = report.split("## What was varied")[0]
    found = (settings["omnibus_p_holm"] < 0.05).sum()
    assert found == 4
    assert "between concrete and abstract sequences in all 4 settings of k and threshold" in opening
    sizes = settings["median_abs_g"]
    assert f"runs from {sizes.min():.2f} to {sizes.max():.2f}" in opening
    assert f"{(heads['verdict'] == 'different').sum()} of 288 tests are significant" in opening
    assert "not independent replications" in report
    assert not re.search(r"\bnan\b|None|built-in|p = 0\b|p = \.000", report)
    shown = re.findall(r"!\[(.+?)\]\((figures/.+?)\)", report)
    assert [name for _, name in shown] == [
        f"figures/{stem}.png" for stem in ("settings", "sweep_k", "sweep_threshold", "stability")
    ]
    for alt, name in shown:
        assert len(alt) > 60
        assert (folder / name).stat().st_size > 1000
        assert (folder / name).with_suffix(".svg").is_file()
    index = (folder.parent / "README.md").read_text()
    row = next(line for line in index.splitlines() if f"{FOLDER}/report.md" in line)
    assert row.count("|") == 8


def test_a_second_run_says_that_it_reuses_and_gives_the_same(quick, folder, reports, capsys, monkeypatch):
    def never(*_, **__):
        raise AssertionError("nothing is to be counted again")

    before = (folder / "heads.csv").read_bytes()
    monkeypatch.setattr(sweep_run, "extract", never)
    assert run(*ARGUMENTS, out=reports) == 0
    assert "every setting was finished before with the same recipe" in " ".join(capsys.readouterr().out.split())
    assert (folder / "heads.csv").read_bytes() == before


def test_an_interrupted_sweep_goes_on_and_ends_as_an_uninterrupted_one(quick, folder, tmp_path, capsys, monkeypatch):
    analyse, extract = sweep_run.analyse_cube, sweep_run.extract
    calls = []

    def interrupted(*arguments, **more):
        calls.append("tests")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return analyse(*arguments, **more)

    monkeypatch.setattr(sweep_run, "analyse_cube", interrupted)
    assert run(*ARGUMENTS, out=tmp_path) == 130
    assert not (tmp_path / FOLDER / "report.md").exists()
    assert "same command" in capsys.readouterr().err

    counted = []

    def watched(*arguments, **named):
        counted.append(extract(*arguments, **named))
        return counted[-1]

    monkeypatch.setattr(sweep_run, "extract", watched)
    monkeypatch.setattr(sweep_run, "analyse_cube", analyse)
    assert run(*ARGUMENTS, out=tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1/2 k = 120: finished before with the same recipe" in said
    # the second setting's counts were there, its tests were not
    assert [one.reused for one in counted] == [True]
    for name in ("heads.csv", "settings.csv", "stability.csv"):
        assert (tmp_path / FOLDER / name).read_bytes() == (folder / name).read_bytes()


def test_another_recipe_takes_over_nothing(quick, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / FOLDER)
    tested = []
    analyse = sweep_run.analyse_cube

    def counting(*arguments, **more):
        tested.append(arguments[3].own["k"])
        return analyse(*arguments, **more)

    monkeypatch.setattr(sweep_run, "analyse_cube", counting)
    # a damaged result, and a k that is new; 200 alone is reused
    record = next(path for path in (tmp_path / FOLDER / "finished").glob("*/facts.json"))
    damaged = json.loads(record.read_text())
    record.write_text(record.read_text()[:-20])
    assert run(*ARGUMENTS[:3], "120,200,150", *ARGUMENTS[4:], out=tmp_path) == 0
    n_units = damaged["facts"]["n_a"] + damaged["facts"]["n_b"]
    sizes = {120: n_units < 40, 200: n_units >= 40}
    assert tested == [next(k for k, mine in sizes.items() if mine), 150]


def test_measures_share_an_extraction_and_models_are_not_joined_head_by_head(tmp_path, tmp_path_factory):
    model = model_folder(tmp_path_factory.mktemp("models") / "tiny", "bert", layers=2, heads=4, sharp=8.0)
    arguments = ["--k", "120", "--model", f"all-MiniLM-L6-v2,{model}", "--measure", "count,entropy"]
    assert run("sweep", "mt40k_topbotk", *arguments, "--permutations", "200", "--correction", "by", out=tmp_path) == 0
    heads = pd.read_csv(tmp_path / FOLDER / "heads.csv")
    assert heads.groupby("setting").size().tolist() == [72, 72, 8, 8]
    np.testing.assert_allclose(heads["p_perm_fdr"], stats.false_discovery_control(heads["p_perm"], method="by"))
    assert len(list((tmp_path / FOLDER / "cubes").iterdir())) == 2
    table = pd.read_csv(tmp_path / FOLDER / "stability.csv")
    assert table["n_settings"].unique().tolist() == [1]
    assert sorted(table.groupby(["model", "measure"]).size()) == [8, 8, 72, 72]
    report = (tmp_path / FOLDER / "report.md").read_text()
    assert "Heads of two models are not the same heads" in report
    assert "Benjamini and Yekutieli (2001)" in report
    assert "over all settings of its own model and measure" in report


WORDS = ("table", "idea", "stone", "truth", "river", "hope", "chair", "fate", "glass", "logic", "apple", "mercy")


@pytest.mark.parametrize(("column", "n"), [("pair", 12), ("cluster", 6)])
def test_paired_and_clustered_studies_are_swept(column, n, quick, tmp_path):
    rows = [
        {
            "condition": condition,
            "text": f"the {word} was {ending}",
            # a pair has one text of each condition, a cluster two texts of one
            column: str(place) if column == "pair" else f"{condition} {place // 2}",
        }
        for condition, ending in (("old", "there long ago"), ("new", "made today"))
        for place, word in enumerate(WORDS)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "texts.csv", index=False)
    study = text_study(read_texts(tmp_path / "texts.csv"), name="texts", a="old")
    options, axes = read_sweep(study, {"queries": ["all,words"], "permutations": "100", "out": str(tmp_path)})
    result = run_sweep(study, options, axes)
    assert result.settings["unit"].tolist() == [column] * 2
    assert result.settings[["n_a", "n_b"]].to_numpy().tolist() == [[n, n]] * 2
    assert (result.contrast.pair is not None) == (column == "pair")
    sentences = verdict(result)
    assert "between old and new sequences" in sentences[0]
    assert "settings of queries" in sentences[0]


def test_the_slope_of_a_continuous_predictor_is_swept(shelf, monkeypatch, tmp_path):
    monkeypatch.setattr(sweep_run, "EncoderShelf", lambda: shelf)
    arguments = ["--words", "400", "--seed", "1,2", "--bands", "5", "--permutations", "100"]
    assert run("sweep", "concreteness_slope", *arguments, out=tmp_path) == 0
    report = (tmp_path / "concreteness_slope_sweep" / "report.md").read_text()
    assert "The omnibus test finds a change with the concreteness rating in " in report
    assert "median absolute d over heads" in report
    assert "partial correlation" in report
    assert not re.search(r"\bnan\b", report)
