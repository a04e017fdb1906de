"""
Statistics of any array
=======================

`metastable.stats` knows nothing of models: it takes units by features, and a label for each unit. Here the features
are 40 sensors of an experiment that never was, with an effect in the first five.
"""

# %%
# The data
# --------

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metastable import stats

rng = np.random.default_rng(1)
condition = np.arange(60) < 30
values = rng.normal(size=(60, 40))
values[condition, :5] += 1.0
values[condition] *= 1.5

# %%
# Permutation tests of all features at once
# -----------------------------------------
# The relabelings are shared by all features, so that the largest statistic of each gives family-wise p-values. The
# statistic is studentized without equal variances (Welch's t).

tested = stats.permutation_test(values, condition, n_permutations=2000, rng=0)
print("family-wise:", np.flatnonzero(tested.p_fwer < 0.05))
print("false discovery rate:", np.flatnonzero(stats.adjust_p_values(tested.p_perm) < 0.05))

# %%
# Sizes with intervals, and Bayes factors
# ---------------------------------------

size = stats.hedges_g(values, condition)
bayes = stats.jzs_bayes_factor(tested.statistic, 30, 30)
table = pd.DataFrame({"g": size.estimate, "low": size.low, "high": size.high, "BF10": bayes})
table.head(7).round(2)

# %%
# Equivalence: that an effect is smaller than a margin is shown, not concluded from a large p.

equal = stats.equivalence_test(values, condition, margin=1.0)
print("shown to be within one standard deviation:", int((stats.adjust_p_values(equal) < 0.05).sum()), "of 40")

# %%
# A figure
# --------

figure = Figure(figsize=(7, 2.6), layout="constrained")
axes = figure.subplots()
axes.errorbar(range(40), table["g"], yerr=[table["g"] - table["low"], table["high"] - table["g"]], fmt="o", ms=3, lw=1)
axes.axhline(0, color="black", lw=0.8)
axes.set(xlabel="sensor", ylabel="Hedges' g")
figure
