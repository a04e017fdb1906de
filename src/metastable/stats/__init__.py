"""Tests of many features at once: arrays and labels in, one number per feature out.

Nothing here knows models or attention; any array of units by features will do.

>>> import numpy as np
>>> from metastable import stats
>>> rng = np.random.default_rng(0)
>>> values, condition = rng.normal(size=(40, 5)), np.arange(40) < 20
>>> values[condition, 0] += 2
>>> result = stats.permutation_test(values, condition, n_permutations=999, rng=0)
>>> (result.p_fwer < 0.05).tolist()
[True, False, False, False, False]
"""

from metastable.stats.adjustment import adjustment_table
from metastable.stats.analysis import Analysis, Settings, TokenRows
from metastable.stats.balance import balance_table
from metastable.stats.bayes import jzs_bayes_factor
from metastable.stats.bootstrap import bootstrap_g
from metastable.stats.corrections import adjust_p_values, null_proportion
from metastable.stats.difference import analyse
from metastable.stats.effect_kinds import DIFFERENCE, SLOPE, Effect, effect_of
from metastable.stats.effects import EffectSize, hedges_g, mean_difference
from metastable.stats.equivalence import equivalence_test
from metastable.stats.hierarchical import hierarchical_test
from metastable.stats.mixed_models.joint import fit_joint_model
from metastable.stats.mixed_models.mixed import MixedModels, fit_mixed_models
from metastable.stats.permutations.permutation import PermutationResult, permutation_test, permutation_test_contrast
from metastable.stats.simulation.calibrating import calibrate
from metastable.stats.simulation.sensitivity import sensitivity
from metastable.stats.superiority import probability_of_superiority
from metastable.stats.transforms import transform_counts
from metastable.stats.verdict import verdicts

__all__ = [
    "DIFFERENCE",
    "SLOPE",
    "Analysis",
    "Effect",
    "EffectSize",
    "MixedModels",
    "PermutationResult",
    "Settings",
    "TokenRows",
    "adjust_p_values",
    "adjustment_table",
    "analyse",
    "balance_table",
    "bootstrap_g",
    "calibrate",
    "effect_of",
    "equivalence_test",
    "fit_joint_model",
    "fit_mixed_models",
    "hedges_g",
    "hierarchical_test",
    "jzs_bayes_factor",
    "mean_difference",
    "null_proportion",
    "permutation_test",
    "permutation_test_contrast",
    "probability_of_superiority",
    "sensitivity",
    "transform_counts",
    "verdicts",
]
