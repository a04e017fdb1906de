"""Pictures of results, each a function of data that returns a matplotlib figure.

Every figure function has a partner ``..._alt`` that takes the same data and states the finding in words.

>>> import metastable
>>> figure = metastable.figures.heatmap(heads, "mean_a")   # doctest: +SKIP
"""

import lazy_loader

# Names stand in __init__.pyi alone; pandas, scipy and matplotlib are imported when one that needs them is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
