"""What an open cube says of its sequences, and that it costs no count to say it anew."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import metastable
from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.sequence_labels import GROUPINGS, labels_of
from metastable.models.encoders import wrap_model
from metastable.study import Condition, Material, Study
from tests.extraction.oracle import text_sequences
from tests.extraction.tiny_models import tiny_model

STUDY = Study(
    name="asking", title="T", question="Q?", build=lambda options, tokenizer: Material(()),
    conditions=(Condition("question", "asks"), Condition("statement", "states")),
)  # fmt: skip
SEQUENCES = [
    replace(
        sequence,
        condition=("question", "statement")[i % 2],
        pair=f"p{i // 2}",
        cluster=None if i == 3 else f"c{i}",
        context="clip",
        covariates={"zipf": i / 2, "entropy": -i} | ({"rare": 1.0} if i else {}),
    )
    for i, sequence in enumerate(text_sequences([5, 6, 5, 7]))
]


@pytest.fixture(scope="module")
def encoder():
    return wrap_model(tiny_model("bert"), model_id="tiny")


def run(encoder, path, sequences=SEQUENCES, study=STUDY):
    return extract(encoder, sequences, path=path, measures=("entropy",), study=study)


def test_the_labels_lie_along_the_sequences(encoder, tmp_path):
    run(encoder, tmp_path / "counts.zarr")
    cube = metastable.load_counts(tmp_path / "counts.zarr")
    assert {*GROUPINGS, "zipf", "rare", "covariate_entropy"} <= set(cube.coords)
    assert all(cube[name].dims == ("sequence",) for name in (*GROUPINGS, "zipf", "rare", "covariate_entropy"))
    assert cube["condition"].to_numpy().tolist() == ["question", "statement"] * 2
    assert cube["pair"].to_numpy().tolist() == ["p0", "p0", "p1", "p1"]
    assert cube["cluster"].to_numpy().tolist() == ["c0", "c1", "c2", ""]
    assert cube["level"].to_numpy().tolist() == [""] * 4
    assert cube["zipf"].to_numpy().tolist() == [0, 0.5, 1, 1.5]
    # a covariate of the name of a measure takes nothing from it
    assert cube["covariate_entropy"].to_numpy().tolist() == [0, -1, -2, -3]
    assert cube["entropy"].dims == ("sequence", "site", "layer", "head", "token")
    np.testing.assert_array_equal(cube["rare"], [np.nan, 1, 1, 1])
    means = cube["mean_count"].groupby("condition").mean()
    expected = cube["mean_count"].to_numpy()[::2].mean(axis=0)
    np.testing.assert_allclose(means.sel(condition="question").to_numpy(), expected)


def test_the_cube_names_its_study_its_conditions_and_its_model(encoder, tmp_path):
    cube = run(encoder, tmp_path / "counts.zarr").dataset
    assert {name: cube.attrs[name] for name in ("study", "a", "b", "model")} == {
        "study": "asking", "a": "question", "b": "statement", "model": "tiny",
    }  # fmt: skip
    assert not {"study", "a", "b"} & set(run(encoder, tmp_path / "other.zarr", study=None).dataset.attrs)


def test_everything_in_the_cube_says_what_it_is(encoder, tmp_path):
    cube = run(encoder, tmp_path / "counts.zarr").dataset
    assert all(variable.attrs["long_name"] for variable in cube.variables.values())
    assert cube["count"].attrs["units"] == cube["mean_count"].attrs["units"] == "tokens"
    assert cube["count"].attrs["missing"].startswith("0 where the token is no query")
    assert cube["entropy"].attrs["missing"].startswith("NaN where the token is no query")
    assert "entropy" in cube["mean_entropy"].attrs["long_name"]
    assert cube["covariate_entropy"].attrs["long_name"] == "entropy"
    assert cube["zipf"].attrs["long_name"] == "Zipf frequency"


def test_other_labels_are_written_anew_and_nothing_is_counted_again(encoder, tmp_path):
    path = tmp_path / "counts.zarr"
    first = run(encoder, path)
    renamed = [replace(s, condition=s.condition.upper(), covariates={"zipf": 1.0}) for s in SEQUENCES]
    a, b = STUDY.conditions
    study = replace(STUDY, conditions=(replace(a, name="QUESTION"), replace(b, name="STATEMENT")))
    second = run(encoder, path, renamed, study)
    assert second.reused
    assert second.key == first.key
    assert second.dataset["condition"].to_numpy().tolist() == ["QUESTION", "STATEMENT"] * 2
    assert second.dataset.attrs["a"] == "QUESTION"
    assert "rare" not in second.dataset.coords


def test_a_cube_without_labels_opens_and_another_run_writes_them(encoder, tmp_path):
    path = tmp_path / "counts.zarr"
    whole = run(encoder, path).dataset.load()
    shutil.rmtree(path / "labels")
    old = metastable.load_counts(path)
    assert "condition" not in old.coords
    assert old["count"].attrs["long_name"]
    np.testing.assert_array_equal(old["count"], whole["count"])
    again = run(encoder, path)
    assert again.reused
    assert again.dataset.load().identical(whole)


@pytest.mark.parametrize("damage", ["cut", "remove", "array"])
def test_damaged_labels_are_told_and_another_run_mends_them(encoder, tmp_path, damage):
    path = tmp_path / "counts.zarr"
    whole = run(encoder, path).dataset.load()
    chunk = next(file for file in sorted((path / "labels" / "level" / "c").rglob("*")) if file.is_file())
    if damage == "cut":
        chunk.write_bytes(chunk.read_bytes()[:-1])
    elif damage == "remove":
        chunk.unlink()
    else:
        shutil.rmtree(path / "labels" / "level")
    with pytest.raises(InputError, match="run the study again"):
        metastable.load_counts(path)
    again = run(encoder, path)
    assert again.reused
    assert again.dataset.load().identical(whole)


def test_sequences_without_covariates_have_their_names_alone(encoder, tmp_path):
    cube = run(encoder, tmp_path / "counts.zarr", [replace(s, covariates={}) for s in SEQUENCES]).dataset
    assert set(cube.coords) == {"sequence", "site", "layer", "head", "threshold", *GROUPINGS}


@pytest.mark.parametrize(
    "change",
    [
        {"pair": "p9"},
        {"cluster": None},
        {"context": "another"},
        {"covariates": {"zipf": 0.5, "entropy": -1}},
        {"covariates": {"zipf": 0.5, "entropy": -1, "rare": 2.0}},
        {"covariates": {"zipf": 0.5, "entropy": -1, "new": 1.0}},
    ],
)
def test_labels_equal_those_that_say_the_same(change):
    same, other = labels_of([*SEQUENCES]), labels_of([SEQUENCES[0], replace(SEQUENCES[1], **change), *SEQUENCES[2:]])
    assert same.equals(labels_of(SEQUENCES))
    assert not same.equals(other)
    assert not other.equals(same)
