"""The whole path on real words and the bundled encoder, against independent recomputation."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from transformers import AutoModel

import metastable
import studies
from metastable.cli import main
from metastable.heads.record import RunRecord
from metastable.models.encoders import load_encoder
from metastable.stats.analysis import of_primary_measure
from metastable.stats.effect_kinds import DIFFERENCE, head_columns
from metastable.typed_json import plain, typed
from tests.model_folders import model_folder

pytestmark = pytest.mark.usefixtures("undrawn_within")

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
def tables(folder):
    return pd.read_csv(folder / "heads.csv")


@pytest.fixture(scope="module")
def heads(tables):
    return of_primary_measure(tables)


@pytest.fixture(scope="module")
def sequences(folder):
    return pd.read_parquet(folder / "sequences.parquet")


def test_the_files_of_the_contract_are_there(folder, tables, heads, sequences):
    assert tuple(tables.columns) == head_columns(DIFFERENCE)
    assert tables["measure"].unique().tolist() == ["count", "count_contributions", "count_words", "special_mass"]
    assert pd.read_parquet(folder / "heads.parquet").attrs["conditions"] == ["concrete", "abstract"]
    for name in ("details", "layers", "omnibus"):
        columns = pd.read_csv(folder / f"{name}.csv").columns.tolist()
        assert columns[columns.index("threshold") + 1] == "measure"
    assert len(heads) == 6 * 12 * len(THRESHOLDS)
    pd.testing.assert_frame_equal(tables, pd.read_parquet(folder / "heads.parquet"), check_dtype=False)
    for column in ("sequence", "condition", "cluster", "pair", "text", "n_tokens", "n_words", "token_ids"):
        assert column in sequences.columns
    recipe = json.loads((folder / "run.json").read_text())
    assert recipe["options"]["k"] == K
    assert len(recipe["model"]["weights_sha256"]) == 64
    assert len(recipe["sources"]["norms SHA-256"]) == 64
    listed = (folder.parent / "README.md").read_text().split("## All reports")[1]
    assert listed.count("mt40k_topbotk/report.md") == 1


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


def test_the_report_is_one_file_too_and_its_heads_open_in_the_browser(folder):
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    assert page.count('src="data:image/png') == text.count("![")
    assert "heads.html#layer=6&amp;head=12" in page
    assert "heads.html#" not in text
    files = json.loads((folder / "run.json").read_text())["files"]
    assert {"report.md", "report.html", "heads.html"} < set(files)
    assert 'href="mt40k_topbotk/report.html"' in (folder.parent / "index.html").read_text()


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


def test_every_run_tests_four_measures_each_corrected_for_itself(folder, tables, sequences):
    cube = metastable.load_counts(folder / "counts.zarr")
    in_a = (sequences["condition"] == "concrete").to_numpy()
    by_measure = dict(list(tables.groupby(["measure", "threshold"], sort=False)))
    counts = ("count", "count_contributions", "count_words")
    assert list(by_measure) == [
        *((name, threshold) for name in counts for threshold in THRESHOLDS),
        ("special_mass", THRESHOLDS[0]),
    ]
    for (name, threshold), rows in by_measure.items():
        assert len(rows) == 72
        means = cube[f"mean_{name}"]
        means = means.sel(threshold=threshold) if "threshold" in means.dims else means
        values = means.isel(site=0).to_numpy().reshape(len(in_a), 72)
        np.testing.assert_allclose(rows["mean_a"], values[in_a].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            rows["difference"], values[in_a].mean(axis=0) - values[~in_a].mean(axis=0), atol=1e-9
        )
        expected = stats.false_discovery_control(rows["p_perm"], method="bh")
        np.testing.assert_allclose(rows["p_perm_fdr"], expected, rtol=1e-12)
        welch = stats.ttest_ind(values[in_a], values[~in_a], equal_var=False).statistic
        varied = np.ptp(values, axis=0) > 0
        np.testing.assert_allclose(rows["statistic"].to_numpy()[varied], np.asarray(welch)[varied], rtol=1e-6)
        lmm = rows.filter(like="lmm")
        assert lmm.notna().all(axis=None) if name == "count" else lmm.isna().all(axis=None)
    for table, n_rows in (("details", 72), ("layers", 6), ("omnibus", 2)):
        found = pd.read_csv(folder / f"{table}.csv").groupby(["measure", "threshold"], sort=False).size()
        assert found.to_dict() == dict.fromkeys(by_measure, n_rows)


def test_a_measure_tested_beside_another_gives_what_it_gives_alone(folder, tables, tmp_path):
    options = ["--measure", "count_words", "--out", str(tmp_path)]
    assert main([*ARGUMENTS, *options], package=studies) == 0
    alone = of_primary_measure(pd.read_csv(tmp_path / "mt40k_topbotk" / "heads.csv"))
    beside = tables[tables["measure"] == "count_words"].reset_index(drop=True)
    columns = [name for name in tables.columns if not name.startswith("lmm")]
    pd.testing.assert_frame_equal(alone[columns], beside[columns], check_exact=True)


def test_a_record_says_what_could_not_be_had_only_where_there_is_such(folder):
    assert "left_out" not in json.loads((folder / "run.json").read_text())["extraction"]
    record = RunRecord.read(folder / "run.json").extraction
    lacking = replace(record, left_out={"count_words": "needs a special token"})
    assert plain(lacking)["left_out"] == {"count_words": "needs a special token"}
    assert typed(type(record), plain(lacking)) == lacking


def test_a_model_that_is_read_from_its_weights_has_all_four_by_its_own_values(tmp_path):
    model = model_folder(tmp_path / "mpnet", "mpnet")
    options = ["mt40k_topbotk", "--k", "40", "--max-length", "24", "--permutations", "100", "--model", str(model)]
    assert main([*options, "--out", str(tmp_path / "out")], package=studies) == 0
    folder = tmp_path / "out" / "mt40k_topbotk"
    measures = ["count", "count_contributions", "count_words", "special_mass"]
    assert pd.read_csv(folder / "heads.csv")["measure"].unique().tolist() == measures
    assert "left_out" not in json.loads((folder / "run.json").read_text())["extraction"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_run_in_half_precision_says_so_and_reuses_no_cube_of_another_type(dtype, tmp_path):
    model = model_folder(tmp_path / "bert", "bert", sharp=8.0)
    options = ["mt40k_topbotk", "--k", "80", "--max-length", "24", "--permutations", "100", "--model", str(model)]
    options += ["--out", str(tmp_path / "out")]
    folder = tmp_path / "out" / "mt40k_topbotk"
    found = []
    for given in (["float32"], [dtype], [dtype]):
        assert main([*options, "--dtype", *given], package=studies) == 0
        record, report = RunRecord.read(folder / "run.json"), (folder / "report.md").read_text()
        means = metastable.load_counts(folder / "counts.zarr")["mean_count"].to_numpy()
        found.append((record.extraction.reused, means, report))
        assert record.model.dtype == given[0]
    assert [reused for reused, _, _ in found] == [False, False, True]
    assert not np.array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[1][1], found[2][1])
    assert f"… read in {dtype}; transformers" in found[1][2]
    assert f"The model computed in {dtype}, and only its softmax in float32" in found[1][2]
    assert "float32" in found[0][2]
    assert "The model computed in" not in found[0][2]


def test_layers_of_a_hybrid_bear_the_number_that_they_have_in_the_model(tmp_path):
    """Of eight layers of Qwen3-Next the fourth and the eighth attend."""
    model = model_folder(tmp_path / "hybrid", "qwen3-next", layers=8, sharp=12.0)
    options = ["mt40k_topbotk", "--k", "24", "--permutations", "100", "--model", str(model)]
    assert main([*options, "--out", str(tmp_path / "out")], package=studies) == 0
    folder = tmp_path / "out" / "mt40k_topbotk"
    for name in ("heads", "details", "layers"):
        assert pd.read_csv(folder / f"{name}.csv")["layer"].unique().tolist() == [4, 8]
    heads = of_primary_measure(pd.read_csv(folder / "heads.csv"))
    cube = metastable.load_counts(folder / "counts.zarr")
    assert cube["layer"].to_numpy().tolist() == [4, 8]
    of_concrete = cube["mean_count"].sel(site="self", layer=8, threshold=0.9)[cube["condition"] == "concrete"]
    np.testing.assert_allclose(heads.loc[heads["layer"] == 8, "mean_a"], of_concrete.mean("sequence"))
    report = (folder / "report.md").read_text()
    assert "2 layers of 4 heads, the model's layers 4 and 8." in report
    assert re.search(r"the largest difference is in layer [48], head", report)
    assert "Layer 4 is at the bottom." in report
    assert {int(number) for number in re.findall(r"[Ll]ayer (\d+)", report)} == {4, 8}
    page = (folder / "heads.html").read_text()
    assert '"sites":[{"name":"self","layers":[4,8],"heads":4}]' in page
    assert '["self",8,4]' in page


def test_what_a_model_cannot_have_is_not_tested_and_the_record_says_why(tmp_path, capsys):
    measures, lacking = ["count", "count_contributions", "first_mass"], ["count_words", "special_mass"]
    model = model_folder(tmp_path / "gpt2", "gpt2")
    options = ["mt40k_topbotk", "--k", "40", "--max-length", "24", "--permutations", "100", "--model", str(model)]
    assert main([*options, "--out", str(tmp_path / "out")], package=studies) == 0
    folder = tmp_path / "out" / "mt40k_topbotk"
    assert pd.read_csv(folder / "heads.csv")["measure"].unique().tolist() == measures
    left_out = json.loads((folder / "run.json").read_text())["extraction"]["left_out"]
    assert list(left_out) == lacking
    assert all(reason.startswith("needs ") for reason in left_out.values())
    capsys.readouterr()
    assert main([*options, "--measure", lacking[0], "--out", str(tmp_path / "none")], package=studies) == 2
    complaint = " ".join(capsys.readouterr().err.split())
    assert f"the measure {lacking[0]} {left_out[lacking[0]]}; choose another --measure, or" in complaint
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("measure", ["entropy", "special_mass"])
def test_other_measures_and_row_options_run(tmp_path, measure):
    options = ["--k", "60", "--permutations", "100", "--measure", measure, "--queries", "words", "--unit", "words"]
    assert main(["mt40k_topbotk", *options, "--out", str(tmp_path)], package=studies) == 0
    tables = pd.read_csv(tmp_path / "mt40k_topbotk" / "heads.csv")
    beside = {"count", "count_contributions", "count_words", "special_mass"} - {measure}
    assert tables["measure"].iloc[0] == measure
    assert set(tables["measure"]) == {measure, *beside}
    heads = of_primary_measure(tables)
    assert len(heads) == 72
    assert heads.drop(columns="verdict").select_dtypes("number").notna().all(axis=None)


def test_the_controls_behave(tmp_path):
    common = ["--k", "200", "--permutations", "1000", "--out", str(tmp_path)]
    assert main(["null_split", *common], package=studies) == 0
    assert main(["positive_control", *common], package=studies) == 0
    null, positive = (
        of_primary_measure(pd.read_csv(tmp_path / name / "heads.csv")) for name in ("null_split", "positive_control")
    )
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
