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

import lazy_loader

# Names stand in __init__.pyi alone; pandas, scipy and matplotlib are imported when one that needs them is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
