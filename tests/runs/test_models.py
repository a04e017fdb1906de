"""A study on many tiny models, against a recomputation from the files that it leaves."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import metastable
import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.heads.record import ManyModelsRecord, read_record
from metastable.material.texts import read_texts, text_study
from metastable.runs import models as models_run
from metastable.runs.models import run_models
from metastable.study.own_options import options_for
from tests.model_folders import model_folder

CONCRETE = ["stone", "river", "tree", "house", "dog", "bread", "bottle", "chair"]
ABSTRACT = ["truth", "virtue", "freedom", "doubt", "reason", "honour", "law", "mercy"]


@pytest.fixture(scope="module", autouse=True)
def no_pictures_of_each_model():
    """Draw no figures of single models and write no browser of theirs: other tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metastable.report.run.page.save_plates", lambda *_: None)
        patch.setattr("metastable.runs.study.write_run_browser", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file of texts, two BERTs, one of another depth, and two checkpoints of a training."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    rows = [
        {"condition": side, "text": " ".join(rng.choice(words, 6 + (i % 3)))}
        for side, words in (("concrete", CONCRETE), ("abstract", ABSTRACT))
        for i in range(14)
    ]
    pd.DataFrame(rows).to_csv(folder / "texts.csv", index=False)
    for name, layers in (("one", 2), ("two", 2), ("deep", 4), ("run/step1", 2), ("run/step2", 2)):
        model_folder(folder / name, "bert", layers=layers, sharp=6.0)
        # the folders hold one initialisation: other weights for each
        reseed(folder / name, seed=len(name) + layers)
    return folder


def reseed(folder, seed):
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    tensors = load_file(folder / "model.safetensors")
    changed = {name: t + 0.3 * t.std() * torch.randn_like(t) if t.ndim == 2 else t for name, t in tensors.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def study(place):
    return text_study(read_texts(place / "texts.csv"), name="texts", a="concrete")


def quiet(monkeypatch):
    monkeypatch.setattr("metastable.report.models.page.save_plates", lambda *_: None)


def chosen(*models, **more):
    return models_run.ModelsOptions(model=tuple(map(str, models)), resamples=200, **more)


@pytest.fixture(scope="module")
def result(place, study):
    models = [place / "one", place / "two", place / "deep", f"{place}/run@step1", f"{place}/run@step2", place / "no"]
    options = options_for(study, permutations=99, out=str(place / "out"))
    return run_models(study, options, chosen(*models, siblings=2), command="the command")


def test_models_are_run_and_what_fails_is_named(result, place):
    assert [run.name.label for run in result.runs] == [
        "one", "two", "deep", "run@step1", "run@step2", "untrained one 1", "untrained one 2"
    ]  # fmt: skip
    assert [one.given for one in result.record.failed] == [str(place / "no")]
    assert "does not exist" in result.record.failed[0].reason
    for one in result.record.models:
        assert (result.folder / one.report).is_file()
    assert result.models["role"].tolist() == ["draw", "draw", "draw", "checkpoint", "draw", "untrained", "untrained"]
    assert set(result.models["family"]) == {"bert", "untrained"}


def test_the_mean_over_models_is_that_of_an_independent_bootstrap(result):
    """Units drawn one by one, models' estimates and their covariances by plain loops over the files."""
    drawn = ["one", "two", "deep", "run_step2"]
    tables = [pd.read_parquet(result.folder / name / "units.parquet") for name in drawn]
    columns = [[c for c in t if c.startswith(f"{result.measure}/")] for t in tables]

    def mean_g(table, names, rows):
        x, side = table[names].to_numpy()[rows], table["condition_a"].to_numpy()[rows]
        a, b = x[side], x[~side]
        dof = len(a) + len(b) - 2
        pooled = np.sqrt(((len(a) - 1) * a.var(axis=0, ddof=1) + (len(b) - 1) * b.var(axis=0, ddof=1)) / dof)
        g = (1 - 3 / (4 * dof - 1)) * (a.mean(axis=0) - b.mean(axis=0)) / pooled
        return g.mean()

    every = np.arange(len(tables[0]))
    estimates = np.array([mean_g(t, c, every) for t, c in zip(tables, columns, strict=True)])
    rng = np.random.default_rng(1)
    side = tables[0]["condition_a"].to_numpy()
    in_a, in_b = np.flatnonzero(side), np.flatnonzero(~side)
    draws = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(in_a, len(in_a)), rng.choice(in_b, len(in_b))])
        draws.append([mean_g(t, c, rows) for t, c in zip(tables, columns, strict=True)])
    cov = np.cov(np.array(draws).T) * 28 / 26
    off = cov[~np.eye(4, dtype=bool)].mean()
    row = result.means.query("models == 'all' and part == 'all' and quantity == 'mean'").iloc[0]
    assert row["n_models"] == 4
    assert row["estimate"] == pytest.approx(estimates.mean())
    assert row["between"] == pytest.approx(estimates.var(ddof=1) / 4)
    assert row["shared"] == pytest.approx(max(off, 0), abs=0.25 * np.diag(cov).mean())


def test_models_that_read_the_same_have_one_letter(result):
    assert set(result.models["reading"]) == {"A"}


def test_the_record_comes_back_and_holds_every_measure(result):
    record = read_record(result.folder / "run.json")
    assert isinstance(record, ManyModelsRecord)
    assert record == result.record
    assert record.verdict.measures[0].measure == result.measure
    assert len(record.verdict.measures) == result.found.models["measure"].nunique()
    assert record.verdict.measures[0].n_untrained == 2


def test_the_report_has_no_gaps(result):
    text = (result.folder / "report.md").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b|None", text)
    for heading in ("The models", "Over models", "By depth", "Along training", "Model by model", "Without each model"):
        assert f"## {heading}\n" in text
    assert "4 models are too few for a test by sign flips, which needs 6" in text
    assert "the command" in text
    index = (result.folder.parent / "README.md").read_text(encoding="utf-8")
    assert "## Many models" in index
    assert "](texts_models/report.md)" in index
    # in one file, and the models' own reports in theirs
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png') == text.count("![") > 0
    assert '/report.html"' in page
    assert '/report.md"' not in page
    assert 'href="texts_models/report.html"' in (result.folder.parent / "index.html").read_text(encoding="utf-8")


def test_a_second_run_reuses_all_and_says_the_same(result, place, study, monkeypatch):
    quiet(monkeypatch)
    monkeypatch.setattr(models_run, "run_study", lambda *_, **__: pytest.fail("a model was run again"))
    before = (result.folder / "over_models.csv").read_bytes()
    models = [place / "one", place / "two", place / "deep", f"{place}/run@step1", f"{place}/run@step2"]
    options = options_for(study, permutations=99, out=str(place / "out"))
    again = run_models(study, options, chosen(*models, siblings=2))
    assert again.record.n_runs_reused == 7
    assert (result.folder / "over_models.csv").read_bytes() == before


def test_other_weights_or_tests_are_another_recipe(result, place, study, tmp_path, monkeypatch):
    quiet(monkeypatch)
    out = tmp_path / "out"
    shutil.copytree(place / "out", out)
    shutil.copytree(place / "two", tmp_path / "two")
    reseed(tmp_path / "two", seed=99)
    models = [place / "one", tmp_path / "two"]
    options = options_for(study, permutations=99, out=str(out))
    assert run_models(study, options, chosen(*models)).record.n_runs_reused == 1
    options = options_for(study, permutations=199, out=str(out))
    assert run_models(study, options, chosen(*models)).record.n_runs_reused == 0


def test_a_damaged_result_is_computed_anew(result, place, study, tmp_path, monkeypatch):
    quiet(monkeypatch)
    out = tmp_path / "out"
    shutil.copytree(place / "out", out)
    (out / "texts_models" / "one" / "units.parquet").write_bytes(b"x")
    options = options_for(study, permutations=99, out=str(out))
    again = run_models(study, options, chosen(place / "one", place / "two"))
    assert again.record.n_runs_reused == 1
    assert len(again.runs) == 2


def test_siblings_are_untrained_networks_of_one_architecture_with_other_seeds(result):
    from metastable.models.siblings import identify

    homes = sorted((result.folder / "siblings").iterdir())
    assert [home.name for home in homes] == ["one_1", "one_2"]
    assert len({identify(str(home)).weights_hash for home in homes}) == 2
    config = json.loads((homes[0] / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"]) == ("bert", 2)
    assert {path.suffix for path in homes[0].glob("*model*")} <= {".safetensors"}


def test_one_model_says_nothing_of_others(place, study, tmp_path, monkeypatch):
    quiet(monkeypatch)
    options = options_for(study, permutations=99, out=str(tmp_path))
    found = run_models(study, options, chosen(place / "one", siblings=1))
    text = (found.folder / "report.md").read_text(encoding="utf-8")
    assert "One trained model is one draw" in text
    assert "by its rank among them" in text


def test_what_cannot_be_done_is_refused(study, tmp_path):
    from metastable.study.registry import all_studies

    options = options_for(study, permutations=99, out=str(tmp_path))
    with pytest.raises(InputError, match=r"none of 1 model could be read; .*does not exist"):
        run_models(study, options, chosen(tmp_path / "no"))
    slope = all_studies().get("concreteness_slope")
    with pytest.raises(InputError, match="about a slope"):
        run_models(slope, options_for(slope, out=str(tmp_path)), chosen(tmp_path / "no"))


def test_the_notebook_gives_tables_figures_and_the_call(place, study, tmp_path):
    found = metastable.run_models(
        study,
        [str(place / "one"), str(place / "two")],
        progress=False,
        resamples=200,
        permutations=99,
        out=str(tmp_path),
    )
    assert found.models["model"].drop_duplicates().tolist() == ["one", "two"]
    assert found.figures == ("forest", "depth", "sorted_heads")
    assert found.figure("forest") is not None
    assert "metastable.run_models('texts', [" in found.report.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="did you mean 'forest'"):
        found.figure("forst")
    with pytest.raises(InputError, match="is of one model"):
        metastable.run_models(study, ["a"], revision="main")
    assert found.verdict.sentence in str(found)


def test_a_table_stands_in_the_place_of_a_study(place, tmp_path, capsys):
    words = ["models", str(place / "texts.csv"), "--model", str(place / "one"), str(place / "two"), "--a", "concrete"]
    assert main([*words, "--permutations", "99", "--out", str(tmp_path)], package=studies) == 0
    assert (tmp_path / "texts_models" / "one" / "texts" / "report.md").is_file()
    assert "Over 2 models of the family bert" in " ".join(capsys.readouterr().out.split())


def test_the_command_refuses_what_it_cannot_do_before_it_loads_anything(capsys):
    for words, complaint in (
        (["models"], "models needs a study"),
        (["models", "null_split"], "models needs models"),
        (["models", "null_split", "--model", "a", "--revision", "x"], "unrecognized arguments"),
        (["models", "null_split", "--model", "a", "--resamples", "5"], "too few"),
    ):
        assert main(words, package=studies) == 2
        assert complaint in " ".join(capsys.readouterr().err.split())
