"""What is found over models, on models that the test makes up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metastable import stats
from metastable.errors import InputError
from metastable.heads.model_names import UNTRAINED, NamedModel
from metastable.heads.model_tables import ModelRun, over_models, sorted_heads
from metastable.heads.model_units import ModelUnits, read_units, write_units


def run_of(
    label, *, family="bert", layers=4, heads=3, shift=0.5, seed=0, reading="x", measures=("count",), training=""
):
    """A model's run whose heads of layer l differ by l times a part of the shift."""
    rng = np.random.default_rng(seed)
    layer, head = (grid.ravel() + 1 for grid in np.indices((layers, heads)))
    features = pd.DataFrame({"site": "self", "layer": layer, "head": head})
    condition = np.arange(40) < 20
    measured = {
        name: rng.normal(size=(40, len(features))) + condition[:, None] * shift * layer / layers for name in measures
    }
    tables = []
    for name, values in measured.items():
        g = stats.hedges_g(values, condition).estimate
        verdict = np.where(np.abs(g) > 0.5, "different", np.where(np.abs(g) > 0.4, "negligible", "undecided"))
        tables.append(features.assign(measure=name, threshold=0.9, hedges_g=g, verdict=verdict))
    untrained = family == UNTRAINED
    name = NamedModel("sibling 1" if untrained else label, label, None, training, label, family)
    return ModelRun(name, ModelUnits(features, measured, condition, None), pd.concat(tables), reading, {})


@pytest.fixture(scope="module")
def runs():
    return [
        *(run_of(f"bert-{i}", seed=i) for i in range(4)),
        *(run_of(f"albert-{i}", family="albert", layers=8, shift=0.2, seed=10 + i, reading="y") for i in range(3)),
        *(run_of(f"untrained {i}", family=UNTRAINED, shift=0.0, seed=20 + i) for i in range(2)),
    ]


@pytest.fixture(scope="module")
def found(runs):
    return over_models(runs, n_resamples=200)


def row(found, **wanted):
    table = found.means
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_means_are_over_the_draws_alone_and_over_each_family(found, runs):
    of_model = {run.name.label: run.heads["hedges_g"].mean() for run in runs}
    for name, chosen in (("all", runs[:7]), ("bert", runs[:4]), ("albert", runs[4:7]), (UNTRAINED, runs[7:])):
        mean = row(found, models=name, part="all", quantity="mean")
        assert mean["n_models"] == len(chosen)
        assert mean["estimate"] == pytest.approx(np.mean([of_model[run.name.label] for run in chosen]))


def test_negligible_heads_differ_too(found, runs):
    expected = [int(run.heads["verdict"].isin(["different", "negligible"]).sum()) for run in runs]
    assert found.models["n_different"].tolist() == expected
    assert any((run.heads["verdict"] == "negligible").any() for run in runs)


def test_signs_are_flipped_over_the_draws_and_corrected_over_the_depths(found, runs):
    groups = ["all", *(f"{low:.2f}-{high:.2f}" for low, high in found.parts)]
    values = np.column_stack(
        [
            [run.heads["hedges_g"][(run.units.depth >= low) & (run.units.depth < high)].mean() for run in runs[:7]]
            for low, high in ((0, 1), *found.parts)
        ]
    )
    expected = stats.sign_flip_test(values)
    for place, group in enumerate(groups):
        mean = row(found, models="all", part=group, quantity="mean")
        assert mean["p_flip"] == pytest.approx(expected.p[place])
        assert mean["p_flip_fwer"] == pytest.approx(expected.p_fwer[place])
    # a family of four is too small for any p below .05
    assert np.isnan(row(found, models="bert", part="all", quantity="mean")["p_flip"])


def test_trained_models_are_set_against_untrained_ones_and_families_against_each_other(found):
    names = {name for name in found.means["models"] if "−" in name}
    assert names == {f"all − {UNTRAINED}", "bert − albert", f"bert − {UNTRAINED}", f"albert − {UNTRAINED}"}
    beyond = row(found, models=f"all − {UNTRAINED}", part="all", quantity="size2")
    trained, untrained = (
        found.models.loc[found.models["role"] == role, "size"].to_numpy() ** 2 for role in ("draw", "untrained")
    )
    # sizes below zero stand as zero in the table of models
    assert beyond["estimate"] <= trained.mean() - untrained.mean() + 0.02
    assert beyond["low"] < beyond["estimate"] < beyond["high"]


def test_depth_is_relative_so_that_models_of_other_depths_are_compared(found, runs):
    assert found.parts == ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
    deepest = [row(found, models="bert", part=f"{a:.2f}-{b:.2f}", quantity="mean")["estimate"] for a, b in found.parts]
    assert deepest == pytest.approx(
        [
            np.mean([run.heads["hedges_g"][run.heads["layer"] == layer].mean() for run in runs[:4]])
            for layer in range(1, 5)
        ]
    )


def test_readings_have_letters_and_models_that_read_others_share_nothing(found):
    assert found.models["reading"].tolist() == ["A"] * 4 + ["B"] * 3 + ["A"] * 2


def test_earlier_checkpoints_are_no_draws():
    runs = [run_of("a@1", training="a"), run_of("a@2", training="a", seed=1), run_of("b", seed=2)]
    found = over_models(runs, n_resamples=100)
    assert found.models["role"].tolist() == ["checkpoint", "draw", "draw"]
    assert row(found, models="all", part="all", quantity="mean")["n_models"] == 2


def test_a_measure_that_a_model_lacks_is_left_out_and_named():
    runs = [run_of("one", measures=("count", "special_mass")), run_of("two", seed=1)]
    found = over_models(runs, n_resamples=100)
    assert set(found.models["measure"]) == {"count"}
    assert found.left_out == {"special_mass": "two was not tested in it"}
    with pytest.raises(InputError, match="no measure in common"):
        over_models([run_of("one"), run_of("two", measures=("share",))], n_resamples=100)


def test_heads_are_sorted_within_their_layers(runs):
    table = sorted_heads(runs, "count")
    for (_, _, _), rows in table.groupby(["model", "site", "layer"]):
        assert rows["rank"].tolist() == [1, 2, 3]
        assert rows["g"].is_monotonic_increasing


def test_units_come_back_as_they_were_written(tmp_path, runs):
    units = runs[0].units
    write_units(units, tmp_path / "units.parquet")
    back = read_units(tmp_path / "units.parquet")
    pd.testing.assert_frame_equal(back.features, units.features)
    np.testing.assert_array_equal(back.measured["count"], units.measured["count"])
    np.testing.assert_array_equal(back.condition, units.condition)
    assert back.pair is None
    (tmp_path / "units.parquet").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read"):
        read_units(tmp_path / "units.parquet")
