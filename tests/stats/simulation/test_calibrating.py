from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower

from metastable.errors import InputError
from metastable.stats.hierarchical import hierarchical_test
from metastable.stats.simulation import calibrating
from metastable.stats.simulation.calibrating import TokenValues, calibrate


def units_and_tokens(seed, n=48, n_features=12, size=6, n_clusters=None):
    """Skewed, correlated units of `size` tokens; clusters, where there are some, share half the variance."""
    rng = np.random.default_rng(seed)
    units = rng.gamma(2.0, 1.0, (n, n_features)) + rng.normal(size=(n, 1))
    cluster = None
    if n_clusters:
        cluster = rng.permutation(np.arange(n) % n_clusters)
        units += 2 * rng.normal(size=(n_clusters, n_features))[cluster]
    unit = np.repeat(np.arange(n), size)
    tokens = units[unit] + rng.normal(size=(n * size, n_features))
    values = tokens.reshape(n, size, n_features).mean(axis=1)
    return values, TokenValues(tokens, unit), cluster


def pick(table, test, correction, scenario, measure):
    keys = {"test": test, "correction": correction, "scenario": scenario, "measure": measure}
    row = table[(table[list(keys)] == list(keys.values())).all(axis=1)]
    assert len(row) == 1, keys
    return row.iloc[0]


LAYER = np.repeat([0, 1, 2, 3], 3)


@pytest.fixture(scope="module")
def table():
    values, tokens, _ = units_and_tokens(1)
    return calibrate(
        values, tokens=tokens, layer=LAYER, n_splits=300, n_model_splits=120, n_permutations=400, shift=1.2, share=0.25,
        rng=2,
    )  # fmt: skip


@pytest.mark.parametrize("test", ["permutation", "welch", "mixed"])
@pytest.mark.parametrize("scenario", ["null", "planted"])
def test_a_true_null_is_rejected_at_alpha(table, test, scenario):
    row = pick(table, test, "none", scenario, "false_positive_rate")
    assert row["nominal"] == 0.05
    assert row["low"] < 0.056
    assert row["high"] > 0.044
    assert row["high"] - row["low"] < 0.055


@pytest.mark.parametrize("combination", ["maximum", "sum of squares", "number below alpha"])
def test_omnibus_tests_keep_their_level_and_find_what_is_planted(table, combination):
    for scope in ("model", "layer"):
        null = pick(table, f"{scope}: {combination}", "none", "null", "false_positive_rate")
        assert null["nominal"] == 0.05
        assert null["low"] < 0.055
        # Of so few features the number below alpha takes few values, and its p cannot use the level up.
        assert null["high"] > (0.02 if combination == "number below alpha" else 0.045)
        assert pick(table, f"{scope}: {combination}", "none", "planted", "power")["low"] > 0.2
    # A layer without a planted feature is a true null beside one that has some.
    beside = pick(table, f"layer: {combination}", "none", "planted", "false_positive_rate")
    assert beside["low"] < 0.055


def test_layers_first_is_the_hierarchy_over_the_layers_omnibus_tests(monkeypatch):
    values, _, _ = units_and_tokens(16)
    given = spy(monkeypatch, "permutation_test", returned=True)
    corrected = spy(monkeypatch, "_corrected")
    calibrate(
        values, layer=LAYER, family=np.arange(12) % 2, tests=["permutation"], n_splits=2, n_permutations=200, rng=1
    )
    for result, (arguments, _) in zip(given, corrected, strict=True):
        layers = 4 * (np.arange(12) % 2) + LAYER
        groups = {code: np.flatnonzero(layers == code) for code in np.unique(layers)}
        assert len(groups) == 8
        of_layer = np.empty(12)
        for k, members in enumerate(groups.values()):
            of_layer[members] = result.omnibus[f"layer {k}"].p_sum_squares
        expected = hierarchical_test(result.p_perm, layers, group_p=of_layer, family=np.arange(12) % 2).adjusted
        np.testing.assert_array_equal(arguments[0]["permutation", "layers-first"], expected)


def test_no_correction_exceeds_the_level_that_it_promises(table):
    promised = table[table["nominal"].notna()]
    assert (promised["low"] <= 0.055).all()
    assert set(promised["correction"]) == set(calibrating.CALIBRATED)


def test_strict_corrections_find_less(table):
    power = {c: pick(table, "permutation", c, "planted", "power")["estimate"] for c in calibrating.CALIBRATED}
    assert power["none"] >= power["tsbh"] >= power["bh"] >= power["by"]
    assert power["bh"] >= power["holm"]
    assert power["max-t-stepdown"] >= power["max-t"] > 0.3
    # Without a correction the family-wise error is far above the level: that is what corrections are for.
    assert pick(table, "permutation", "none", "null", "fwer")["low"] > 0.1


def test_the_table_is_tidy(table):
    assert list(table.columns) == [
        "test", "correction", "scenario", "measure", "nominal", "estimate", "low", "high", "n_splits",
    ]  # fmt: skip
    assert not table.duplicated(["test", "correction", "scenario", "measure"]).any()
    # Four rates of a planted scenario and two of a null for every correction, of which three come with the permutation
    # test; three for each omnibus test, but that in the planted scenario no model is without an effect.
    n = len(calibrating.CALIBRATED)
    assert len(table) == (n + 2 * (n - 3)) * 6 + 3 * (3 + 2)
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()
    assert set(table.loc[table["correction"].str.contains("max-t|layers-first"), "test"]) == {"permutation"}


def test_balanced_random_intercepts_agree_with_the_test_of_means():
    """With equal numbers of tokens and variance between units the model's test is Student's t of unit means."""
    values, tokens, _ = units_and_tokens(1)
    table = calibrate(values, tokens=tokens, tests=["welch", "mixed"], n_splits=60, shift=1.2, share=0.25, rng=3)
    for measure, scenario in (("false_positive_rate", "null"), ("power", "planted"), ("fdr", "planted")):
        one = pick(table, "mixed", "none", scenario, measure)["estimate"]
        other = pick(table, "welch", "none", scenario, measure)["estimate"]
        assert one == pytest.approx(other, abs=0.01)


def test_what_is_planted_is_the_shift_in_standard_deviations_of_each_feature(monkeypatch):
    values, _, _ = units_and_tokens(19)
    values *= np.geomspace(0.1, 10, 12)
    given = spy(monkeypatch, "welch_p")
    calibrate(values, tests=["welch"], n_splits=3, shift=0.7, share=0.25, rng=1)
    for ((null, condition), _), ((planted, again), _) in zip(given[::2], given[1::2], strict=True):
        np.testing.assert_array_equal(condition, again)
        moved = (planted - null) / (0.7 * values.std(axis=0, ddof=1))
        np.testing.assert_allclose(moved[~condition], 0, atol=1e-9)
        assert sorted(np.abs(moved[condition]).mean(axis=0).round(9)) == [0] * 9 + [1] * 3


def test_all_that_can_be_run_is_run():
    values, tokens, _ = units_and_tokens(20, n=8, n_features=2, size=3)
    of_units = {
        "permutation",
        "welch",
        *(f"model: {one}" for one in ("maximum", "sum of squares", "number below alpha")),
    }
    few = {"n_splits": 2, "n_permutations": 19, "rng": 1}
    assert set(calibrate(values, **few)["test"]) == of_units
    assert set(calibrate(values, tokens=tokens, **few)["test"]) == {*of_units, "mixed"}


def test_power_is_that_of_the_textbook():
    values = np.random.default_rng(3).normal(size=(120, 40))
    table = calibrate(values, tests=["welch"], corrections=["none"], n_splits=200, shift=0.5, share=0.5, rng=4)
    expected = TTestIndPower().power(0.5, 60, 0.05)
    assert pick(table, "welch", "none", "planted", "power")["estimate"] == pytest.approx(expected, abs=0.03)


def test_a_test_that_rejects_too_often_is_exposed(monkeypatch):
    honest = calibrating.welch_p
    monkeypatch.setattr(calibrating, "welch_p", lambda *given, **named: honest(*given, **named) / 3)
    values, _, _ = units_and_tokens(5)
    table = calibrate(values, tests=["welch"], n_splits=200, rng=6)
    assert pick(table, "welch", "none", "null", "false_positive_rate")["low"] > 0.08
    assert pick(table, "welch", "holm", "null", "fwer")["low"] > 0.06


def spy(monkeypatch, name, *, returned=False):
    """Record the arguments of each call, or what it returned."""
    calls = []
    original = getattr(calibrating, name)

    def watched(*given, **options):
        found = original(*given, **options)
        calls.append(found if returned else (given, options))
        return found

    monkeypatch.setattr(calibrating, name, watched)
    return calls


def test_whole_clusters_move_and_their_means_are_tested(monkeypatch):
    values, tokens, cluster = units_and_tokens(7, n=60, n_clusters=20)
    models, tests = spy(monkeypatch, "fit_mixed_models"), spy(monkeypatch, "permutation_test")
    table = calibrate(values, tokens=tokens, cluster=cluster, n_splits=25, n_model_splits=3, n_permutations=100, rng=8)
    for (_, design, group), options in models:
        # Half a is one set of clusters, whole.
        in_a = {c: set(design[cluster[group] == c, 1]) for c in range(20)}
        assert all(len(sides) == 1 for sides in in_a.values())
        assert sum(sides == {1.0} for sides in in_a.values()) == 10
        np.testing.assert_array_equal(options["cluster"], cluster[group])
    means = np.array([values[cluster == c].mean(axis=0) for c in range(20)])
    given = tests[0][0][0]  # of the first split, without planting
    np.testing.assert_allclose(np.sort(given, axis=0), np.sort(means, axis=0))
    assert pick(table, "permutation", "none", "null", "false_positive_rate")["high"] > 0.04


def test_the_mixed_model_has_the_blocks_and_the_second_factor_that_it_is_given(monkeypatch):
    values, tokens, _ = units_and_tokens(17, n=16)
    context = np.arange(96) % 6
    tokens = TokenValues(tokens.values, tokens.unit, nuisance=np.sin(np.arange(192.0)).reshape(96, 2), crossed=context)
    models = spy(monkeypatch, "fit_mixed_models")
    calibrate(values, tokens=tokens, tests=["mixed"], n_splits=2, rng=1)
    for (_, design, _), options in models:
        np.testing.assert_array_equal(design[:, 2:], tokens.nuisance)
        np.testing.assert_array_equal(options["cluster"], context)


def test_pairs_have_one_unit_in_each_half(monkeypatch):
    values, tokens, _ = units_and_tokens(9, n=33)
    models, tests = spy(monkeypatch, "fit_mixed_models"), spy(monkeypatch, "permutation_test")
    calibrate(values, tokens=tokens, paired=True, n_splits=5, n_permutations=100, rng=10)
    for (given, condition), options in tests:
        assert given.shape == (32, 12)  # the odd one is left out
        assert options["statistic"] == "paired"
        for side in (condition, ~condition):
            assert sorted(options["pair"][side]) == list(range(16))
    for (_, design, group), options in models:
        assert len(np.unique(group)) == 32
        for code in np.unique(options["cluster"]):
            assert set(design[options["cluster"] == code, 1]) == {0.0, 1.0}


def test_planted_features_are_refitted_as_if_all_were(monkeypatch):
    values, tokens, _ = units_and_tokens(11)
    models = spy(monkeypatch, "fit_mixed_models")
    corrected = []
    original = calibrating._corrected
    monkeypatch.setattr(
        calibrating, "_corrected", lambda p, *given: corrected.append(p["mixed", "none"]) or original(p, *given)
    )
    calibrate(values, tokens=tokens, n_splits=2, n_permutations=50, tests=["mixed"], share=0.3, rng=12)
    whole, part = models[0][0], models[1][0]
    assert whole[0].shape[1] == 12
    assert part[0].shape[1] == 4
    moved = np.flatnonzero(corrected[0] != corrected[1])
    values = whole[0].copy()
    values[:, moved] = part[0]
    fitted = calibrating.fit_mixed_models(values, whole[1], whole[2], column=1)
    np.testing.assert_allclose(fitted.p_value, corrected[1], rtol=1e-6)


def test_flat_features_are_not_counted_and_families_are_corrected_apart():
    values, _, _ = units_and_tokens(13)
    kwargs = {"tests": ["welch"], "n_splits": 60, "rng": 14}
    one = calibrate(values, **kwargs)
    flat = calibrate(np.column_stack([values, np.full((48, 5), 0.1)]), **kwargs)
    rate = ("welch", "none", "null", "false_positive_rate")
    assert pick(one, *rate)["estimate"] == pick(flat, *rate)["estimate"]
    apart = calibrate(values, family=np.arange(12), **kwargs)
    # A family of one feature needs no correction.
    holm, none = (pick(apart, "welch", c, "null", "fwer")["estimate"] for c in ("holm", "none"))
    assert holm == none == pick(apart, *rate)["estimate"]


def test_a_seed_is_an_answer_and_progress_is_told():
    values, tokens, _ = units_and_tokens(15, n=16)
    told = []
    one = calibrate(
        values, tokens=tokens, n_splits=6, n_model_splits=3, n_permutations=50, rng=1,
        callback=lambda *done: told.append(done),
    )  # fmt: skip
    two = calibrate(values, tokens=tokens, n_splits=6, n_model_splits=3, n_permutations=50, rng=1)
    assert one.equals(two)
    assert told == [(i, 6) for i in range(1, 7)]
    assert one.groupby("test")["n_splits"].unique().map(list).to_dict() == {
        "permutation": [6], "welch": [6], "mixed": [3],
        **{f"model: {name}": [6] for name in ("maximum", "sum of squares", "number below alpha")},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tests": ["students"]}, "tests has .'students'."),
        ({"tests": ["mixed"]}, "tokens is None"),
        ({"tests": ["welch"], "corrections": ["max-t"]}, "need the permutation test"),
        ({"corrections": []}, "corrections has nothing"),
        ({"corrections": ["layers-first"]}, "layer is None"),
        ({"layer": np.arange(4)}, "layer has shape"),
        ({"cluster": np.arange(12) // 2}, "6 clusters"),
        ({"cluster": np.arange(12), "paired": True}, "paired and cluster"),
        ({"cluster": np.arange(5)}, "cluster has shape"),
        ({"n_splits": 1}, "n_splits is 1"),
        ({"n_splits": 4, "n_model_splits": 5}, "n_model_splits is 5"),
        ({"n_permutations": 1}, "n_permutations is 1"),
        ({"alpha": 1.0}, "alpha is 1"),
        ({"shift": 0.0}, "shift is 0"),
        ({"share": 2.0}, "share is 2"),
        ({"tokens": TokenValues(np.ones((4, 2)), np.arange(4))}, "give tokens by 3 features"),
        ({"tokens": TokenValues(np.ones((4, 3)), np.arange(4) + 9)}, "units outside 0 to 11"),
        ({"tokens": TokenValues(np.ones((4, 3)), np.arange(4), np.ones((3, 1)))}, "give nuisance one row"),
    ],
)
def test_bad_input_is_told(options, message):
    with pytest.raises(InputError, match=message):
        calibrate(np.random.default_rng(1).normal(size=(12, 3)), **options)


def test_values_that_cannot_be_tested_are_refused():
    with pytest.raises(InputError, match="7 units"):
        calibrate(np.ones((7, 2)))
    with pytest.raises(InputError, match="no feature that varies"):
        calibrate(np.ones((12, 2)))
    with pytest.raises(InputError, match="is nan"):
        calibrate(np.full((12, 2), np.nan))
