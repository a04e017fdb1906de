"""The whole path on real words and the bundled encoder, against independent recomputation."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from transformers import AutoModel

import metastable
import studies
from metastable.cli import main
from metastable.models.encoders import load_encoder
from metastable.stats.effect_kinds import DIFFERENCE, head_columns

K, THRESHOLDS = 150, (0.9, 0.5, 0.99)
ARGUMENTS = ["mt40k_topbotk", "--k", str(K), "--permutations", "2000", "--threshold", *map(str, THRESHOLDS)]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    assert main([*ARGUMENTS, "--out", str(folder)], package=studies) == 0
    return folder


@pytest.fixture(scope="module")
def folder(reports):
    return reports / "mt40k_topbotk"


@pytest.fixture(scope="module")
def heads(folder):
    return pd.read_csv(folder / "heads.csv")


@pytest.fixture(scope="module")
def sequences(folder):
    return pd.read_parquet(folder / "sequences.parquet")


def test_the_files_of_the_contract_are_there(folder, heads, sequences):
    assert tuple(heads.columns) == head_columns(DIFFERENCE)
    assert heads["measure"].unique().tolist() == ["count"]
    assert pd.read_parquet(folder / "heads.parquet").attrs["conditions"] == ["concrete", "abstract"]
    for name in ("details", "layers", "omnibus"):
        columns = pd.read_csv(folder / f"{name}.csv").columns.tolist()
        assert columns[columns.index("threshold") + 1] == "measure"
    assert len(heads) == 6 * 12 * len(THRESHOLDS)
    pd.testing.assert_frame_equal(heads, pd.read_parquet(folder / "heads.parquet"), check_dtype=False)
    for column in ("sequence", "condition", "cluster", "pair", "text", "n_tokens", "n_words", "token_ids"):
        assert column in sequences.columns
    recipe = json.loads((folder / "run.json").read_text())
    assert recipe["options"]["k"] == K
    assert len(recipe["model"]["weights_sha256"]) == 64
    assert len(recipe["sources"]["norms SHA-256"]) == 64
    assert (folder.parent / "README.md").read_text().count("mt40k_topbotk/report.md") == 1


def test_every_figure_of_the_report_is_there_with_words_for_those_who_can_not_see_it(folder):
    text = (folder / "report.md").read_text()
    shown = [line for line in text.splitlines() if line.startswith("![")]
    assert len(shown) >= 12
    for line in shown:
        alt, _, path = line[2:-1].rpartition("](")
        assert len(alt) > 40
        assert (folder / path).stat().st_size > 1000
        assert (folder / path).with_suffix(".svg").is_file()
    assert not re.search(r"\bnan\b", text)
    assert "= .000" not in text


def test_counts_equal_a_recount_with_plain_transformers_and_numpy(folder, sequences):
    cube = metastable.load_counts(folder / "counts.zarr")
    model = AutoModel.from_pretrained(
        load_encoder("all-MiniLM-L6-v2").model.config._name_or_path, attn_implementation="eager"
    ).eval()
    near = 0
    for _, row in sequences.iloc[::9].iterrows():
        with torch.inference_mode():
            output = model(torch.tensor(row["token_ids"][None]), output_attentions=True)
        weights = np.stack([layer[0].numpy() for layer in output.attentions]).astype(np.float64)
        mass = np.cumsum(-np.sort(-weights, axis=-1), axis=-1)
        for threshold in THRESHOLDS:
            goal = threshold * weights.sum(axis=-1, keepdims=True)
            expected = np.minimum(1 + (mass < goal).sum(axis=-1), weights.shape[-1])
            close = (np.abs(mass - goal) < 1e-5).any(axis=-1)
            found = cube["count"].sel(sequence=row["sequence"], threshold=threshold).to_numpy()[0]
            found = np.moveaxis(found, -1, found.ndim - 1)[..., : len(row["token_ids"])]
            np.testing.assert_array_equal(found[~close], expected[~close])
            near += int(close.sum())
            if not close.any():
                mean = cube["mean_count"].sel(sequence=row["sequence"], threshold=threshold).to_numpy()[0]
                np.testing.assert_allclose(mean, expected.mean(axis=-1), rtol=1e-12)
    assert near < 1000


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_means_and_tests_of_the_table_follow_from_the_cube(folder, heads, sequences, threshold):
    cube = metastable.load_counts(folder / "counts.zarr")["mean_count"].sel(threshold=threshold, site=heads["site"][0])
    in_a = (sequences["condition"] == "concrete").to_numpy()
    table = heads[heads["threshold"] == threshold].set_index(["layer", "head"])
    values = {key: cube.sel(layer=key[0], head=key[1]).to_numpy() for key in table.index}
    for key, row in table.iterrows():
        a, b = values[key][in_a], values[key][~in_a]
        np.testing.assert_allclose([row["mean_a"], row["mean_b"]], [a.mean(), b.mean()], rtol=1e-12)
        assert (row["n_a"], row["n_b"]) == (len(a), len(b))
    for key in list(table.index)[::18]:
        a, b = values[key][in_a], values[key][~in_a]
        if np.ptp(values[key]) == 0:
            continue
        expected = stats.permutation_test(
            (a, b),
            lambda x, y, axis: np.abs(stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic),
            n_resamples=2000,
            alternative="greater",
            vectorized=True,
            random_state=0,
        ).pvalue
        p = table.loc[key, "p_perm"]
        error = np.sqrt(max(p, expected, 1e-3) * (1 - min(p, expected)) / 2000 * 2)
        assert abs(p - expected) < 5 * error


def test_a_second_run_reuses_the_counts_and_gives_the_same_table(reports, folder, capsys):
    before = (folder / "heads.csv").read_bytes()
    assert main([*ARGUMENTS, "--out", str(reports)], package=studies) == 0
    assert "reused" in capsys.readouterr().out
    assert (folder / "heads.csv").read_bytes() == before
    assert json.loads((folder / "run.json").read_text())["extraction"]["reused"] is True


def test_a_new_extraction_gives_the_same_table_too(folder, tmp_path):
    assert main([*ARGUMENTS, "--out", str(tmp_path)], package=studies) == 0
    assert (tmp_path / "mt40k_topbotk" / "heads.csv").read_bytes() == (folder / "heads.csv").read_bytes()


@pytest.mark.parametrize("measure", ["entropy", "special_mass"])
def test_other_measures_and_row_options_run(tmp_path, measure):
    options = ["--k", "60", "--permutations", "100", "--measure", measure, "--queries", "words", "--unit", "words"]
    assert main(["mt40k_topbotk", *options, "--out", str(tmp_path)], package=studies) == 0
    heads = pd.read_csv(tmp_path / "mt40k_topbotk" / "heads.csv")
    assert len(heads) == 72
    assert heads.drop(columns="verdict").select_dtypes("number").notna().all(axis=None)


def test_the_controls_behave(tmp_path):
    common = ["--k", "200", "--permutations", "1000", "--out", str(tmp_path)]
    assert main(["null_split", *common], package=studies) == 0
    assert main(["positive_control", *common], package=studies) == 0
    null = pd.read_csv(tmp_path / "null_split" / "heads.csv")
    positive = pd.read_csv(tmp_path / "positive_control" / "heads.csv")
    assert (null["verdict"] == "different").mean() < 0.1
    assert (positive["verdict"] == "different").mean() > 0.5


def test_a_measure_that_the_study_cannot_give_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("metastable.runs.study.load_encoder", lambda *given, **options: pytest.fail("loaded"))
    arguments = ["mt40k_topbotk", "--k", "60", "--measure", "target_mass", "--out", str(tmp_path)]
    assert main(arguments, package=studies) == 2
    complaint = " ".join(capsys.readouterr().err.split())
    assert "the measure target_mass needs a target word, and sequence 'concrete-0001' has no target word" in complaint
    assert "choose another --measure" in complaint
    assert not list(tmp_path.iterdir())
