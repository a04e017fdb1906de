"""Wherever relabelings are drawn, p counts the observed one with them: nothing is ever shown with p = 0.

Phipson & Smyth (2010): p = (b + 1) / (m + 1). Every test here has an effect that no relabeling reaches (their number is
so large, or the chance of another one so small, that none is drawn), so that p is the smallest there is.
"""

import numpy as np
import pytest

from metastable import stats

M = 49
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(40, 3))
SIDE = np.arange(40) < 20
EFFECT = NOISE + 40.0 * SIDE[:, None]
EVERY = {"all": np.ones(3, dtype=bool)}


def permuted(**options):
    found = stats.permutation_test(EFFECT, SIDE, omnibus=EVERY, n_permutations=M, rng=1, **options)
    whole = found.omnibus["all"]
    # a number of features is reached by chance
    return [found.p_perm, found.p_fwer, found.p_fwer_stepdown, whole.p_max, whole.p_sum_squares]


def contrasted(**options):
    design = np.column_stack([np.ones(40), SIDE, np.sin(np.arange(40))])
    found = stats.permutation_test_contrast(EFFECT, design, n_permutations=M, rng=1, **options)
    return [found.p_perm, found.p_fwer, found.p_fwer_stepdown]


def grouped(**options):
    label = np.where(SIDE, "a", np.where(np.arange(40) < 30, "b", "c")) if not options else np.tile(list("ab"), 20)
    effect = NOISE + 40.0 * (label == "a")[:, None]
    found = stats.several_groups_test(effect, label, n_permutations=M, rng=1, **options)
    return [found.p, found.p_fwer, found.p_all]


def flipped():
    found = stats.sign_flip_test(np.abs(NOISE) + 20, n_permutations=M, rng=1)
    return [found.p, found.p_fwer]


def rotated():
    item, context, side = (axis.ravel() for axis in np.indices((30, 10, 2)))
    values = np.random.default_rng(2).normal(size=(600, 3)) + 50.0 * side[:, None]
    found = stats.crossed_family_test(values, side == 1, item, context, omnibus=EVERY, n_rotations=M, rng=1)
    whole = found.omnibus["all"]
    return [found.p, found.p_fwer, found.p_fwer_stepdown, whole.p_max, whole.p_sum_squares]


PAIRS = {"pair": np.tile(np.arange(20), 2), "statistic": "paired"}
TESTS = {
    "groups": permuted,
    "beside a covariate": lambda: permuted(covariates=np.sin(np.arange(40.0))[:, None]),
    "pairs": lambda: permuted(**PAIRS),
    "slope": lambda: contrasted(contrast=[0, 1, 0]),
    "several groups": grouped,
    "within blocks": lambda: grouped(block=np.arange(40) // 2),
    "models": flipped,
    "items and contexts": rotated,
}


@pytest.mark.parametrize("name", TESTS)
def test_an_effect_that_no_relabeling_reaches_has_the_smallest_p_there_is(name):
    for p in TESTS[name]():
        np.testing.assert_allclose(p, 1 / (M + 1), rtol=1e-12)
