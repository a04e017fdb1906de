"""Words that are read together share noise: the variance by two ways of clustering, and values widened by it."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.stats.effects import welch
from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.samples import sample_moments, split_samples
from metastable.stats.shared_noise import Readings, shared_noise


def read(n_units=120, packings=3, size=8, *, shared=0.7, seed=1, side=None, n_features=4):
    """Units read in random groups of one side: values, unit and group of each reading."""
    rng = np.random.default_rng(seed)
    side = np.arange(n_units) < n_units // 2 if side is None else side
    unit, group, start = [], [], 0
    for _ in range(packings):
        for mine in (np.flatnonzero(side), np.flatnonzero(~side)):
            order = rng.permutation(mine)
            unit.append(order)
            group.append(start + np.arange(len(order)) // size)
            start += -(-len(order) // size)
    unit, group = np.concatenate(unit), np.concatenate(group)
    own = rng.normal(size=(n_units, n_features))
    values = own[unit] + shared * rng.normal(size=(start, n_features))[group]
    return Readings(values + 0.5 * rng.normal(size=(len(unit), n_features)), unit, group), side


def naive_variance(values, design, column=1):
    """Variance of a coefficient over independent units, each with its own variance (HC0)."""
    inverse = np.linalg.pinv(design)
    return np.square(inverse[column][:, None] * (values - design @ (inverse @ values))).sum(axis=0)


def two_way(readings, design, column=1):
    """The same of the readings, by statsmodels, clustered by unit and by group."""
    rows = design[readings.unit]
    found = []
    for values in readings.values.T:
        fit = sm.OLS(values, rows).fit(
            cov_type="cluster",
            cov_kwds={"groups": np.column_stack([readings.unit, readings.group]), "use_correction": False},
        )
        found.append(fit.cov_params()[column, column])
    return np.array(found)


def by_pairs(readings, design, column=1):
    """The variance pair by pair of groups, as the notes of `shared_noise` state it, in plain loops."""
    inverse, size = np.linalg.pinv(design), np.bincount(readings.unit)
    means = np.array([readings.values[readings.unit == k].mean(axis=0) for k in range(len(size))])
    row, residual = inverse[column], readings.values - (design @ (inverse @ means))[readings.unit]
    groups = range(readings.group.max() + 1)
    members = [readings.unit[readings.group == g].tolist() for g in groups]
    total = [sum((row[u] / size[u]) * e for u, e in zip(members[g], residual[readings.group == g], strict=True))
             for g in groups]  # fmt: skip
    lever = [sum((row[u] / size[u]) * design[u] for u in members[g]) for g in groups]
    bread = np.linalg.inv(design.T @ design)
    per_unit = len(readings.unit) / len(size)
    n = len(members) / per_unit
    p, n_units = design.shape[1], len(size)
    alone = sum(r**2 for r in total) * n / (n - p) * (n_units - p) / n_units
    together, weight, kept = 0.0, 0.0, 0.0
    for s in groups:
        for t in groups:
            common = set(members[s]) & set(members[t])
            if s != t and common:
                together = together + total[s] * total[t]
                share = sum((row[u] / size[u]) ** 2 for u in common)
                weight, kept = weight + share, kept + share - lever[s] @ bread @ lever[t]
    left = kept / weight
    towards = min(1, 1 / (left * per_unit)) if left > 0 else 1
    found = np.clip(alone + together / left, two_way(readings, design, column), None)
    found = np.minimum(found, per_unit * alone)
    found = found + towards * (per_unit * alone - found)
    return np.maximum(found, naive_variance(means, design, column))


@pytest.mark.parametrize("packings", [2, 4])
def test_the_variance_of_widened_units_is_that_over_pairs_of_groups(packings):
    readings, side = read(packings=packings)
    design = np.column_stack([np.ones(120), side, np.random.default_rng(2).normal(size=120)])
    found = shared_noise(readings, [design])
    np.testing.assert_allclose(naive_variance(found.values, design), by_pairs(readings, design))
    np.testing.assert_allclose(found.design_effect, by_pairs(readings, design) / naive_variance(readings.means, design))
    assert (found.design_effect > 1.3).all()


def test_of_one_packing_the_variance_is_that_of_its_groups():
    readings, side = read(packings=1)
    design = np.column_stack([np.ones(120), side])
    clustered = [
        sm.OLS(values, design[readings.unit])
        .fit(cov_type="cluster", cov_kwds={"groups": readings.group, "use_correction": False})
        .cov_params()[1, 1]
        for values in readings.values.T
    ]
    n = readings.group.max() + 1
    widened = naive_variance(shared_noise(readings, [design]).values, design)
    np.testing.assert_allclose(widened, np.array(clustered) * n / (n - 2) * 118 / 120)


def test_the_welch_error_of_widened_words_is_the_same():
    readings, side = read(packings=5)
    design = np.column_stack([np.ones(120), side])
    se, _ = welch(sample_moments(split_samples(shared_noise(readings, [design]).values, side)))
    # Welch divides by n - 1 where the sandwich divides by n
    np.testing.assert_allclose(se**2 * 59 / 60, by_pairs(readings, design))


def influenced(n_units, packings, size, n_features, rng):
    """Readings of words that move their neighbours: what a word does to the others goes with it into every packing."""
    readings, side = read(n_units, packings, size, shared=0.2, seed=int(rng.integers(1 << 30)), n_features=n_features)
    moves = 0.3 * rng.normal(size=(n_units, n_features))
    sums = np.zeros((readings.group.max() + 1, n_features))
    np.add.at(sums, readings.group, moves[readings.unit])
    values = readings.values + sums[readings.group] - moves[readings.unit]
    return Readings(values, readings.unit, readings.group), side


@pytest.mark.parametrize("packings", [2, 3, 8])
def test_words_that_move_their_neighbours_keep_the_level_and_naive_ones_do_not(packings):
    rng = np.random.default_rng(7)
    naive, widened = [], []
    # features of one draw share its packings alone, and are replicates
    for _ in range(6):
        readings, side = influenced(160, packings, 8, 150, rng)
        found = shared_noise(readings, [np.column_stack([np.ones(160), side])])
        for values, rates in ((readings.means, naive), (found.values, widened)):
            rates.append((permutation_test(values, side, n_permutations=199, rng=1).p_perm <= 0.05).mean())
    assert np.mean(naive) > 0.2
    # 900 replicates: 0.05 plus three Monte Carlo errors
    assert np.mean(widened) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 900)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), packings=st.integers(1, 4), covariates=st.integers(0, 3))
def test_widening_moves_no_estimate_of_any_design(seed, packings, covariates):
    readings, side = read(60, packings, 6, seed=seed)
    held = np.random.default_rng(seed).normal(size=(60, covariates)) + side[:, None]
    designs = [np.column_stack([np.ones(60), side]), np.column_stack([np.ones(60), side, held])]
    found = shared_noise(readings, designs, span=designs[-1])
    for design in designs:
        before, after = (np.linalg.lstsq(design, values, rcond=None)[0] for values in (readings.means, found.values))
        np.testing.assert_allclose(after[1], before[1], atol=1e-12)
        assert (naive_variance(found.values, design) >= naive_variance(readings.means, design) - 1e-9).all()
    assert (found.design_effect >= 1).all()


def test_units_that_share_nothing_stay_nearly_as_they_are():
    readings, side = read(600, 10, 10, shared=0.0)
    found = shared_noise(readings, [np.column_stack([np.ones(600), side])])
    assert (found.design_effect < 1.3).all()


def test_one_group_of_one_unit_shares_nothing_at_all():
    values = np.random.default_rng(1).normal(size=(40, 3))
    readings = Readings(values, np.arange(40), np.arange(40))
    found = shared_noise(readings, [np.column_stack([np.ones(40), np.arange(40) < 20])])
    np.testing.assert_allclose(found.values, values)
    np.testing.assert_allclose(found.design_effect, 1)


def test_a_unit_read_twice_in_one_group_counts_as_one_cell():
    values = np.random.default_rng(1).normal(size=(40, 3))
    twice = Readings(np.repeat(values, 2, axis=0), np.repeat(np.arange(40), 2), np.repeat(np.arange(40), 2))
    found = shared_noise(twice, [np.column_stack([np.ones(40), np.arange(40) < 20])])
    np.testing.assert_allclose(found.values, values)


def test_a_feature_that_never_varies_stays_as_it_is():
    readings, side = read()
    flat = Readings(np.full_like(readings.values, 0.1), readings.unit, readings.group)
    found = shared_noise(flat, [np.column_stack([np.ones(120), side])])
    np.testing.assert_allclose(found.values, 0.1)
    np.testing.assert_array_equal(found.design_effect, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": np.array([0, 2])}, "unit 1 has no reading"),
        ({"unit": np.array([0, -1])}, "a unit or a group below 0"),
        ({"group": np.array([0])}, "give readings by features and one unit and group for each"),
    ],
)
def test_readings_that_do_not_fit_are_refused(change, message):
    given = {"values": np.ones((2, 1)), "unit": np.array([0, 1]), "group": np.array([0, 1])}
    with pytest.raises(InputError, match=message):
        Readings(**{**given, **change})


def test_a_design_that_does_not_fit_is_refused():
    readings, side = read()
    with pytest.raises(InputError, match="give one row for each of 120 units"):
        shared_noise(readings, [np.ones((3, 2))])
    with pytest.raises(InputError, match="no span"):
        shared_noise(readings, [np.column_stack([np.ones(120), side])] * 2)
