"""Pictures of results, each a function of data that returns a matplotlib figure.

Every figure function has an alternative text, ``.alt`` (also as ``..._alt``), that takes the same data and states the
finding in words. What was measured and tested, a figure reads from the table; the names of the conditions it reads from
``heads.attrs["conditions"]``, which a run's tables and heads.parquet have, or is given them.

>>> import metastable
>>> figure = metastable.figures.heatmap(heads, "mean_a")        # doctest: +SKIP
>>> words = metastable.figures.heatmap.alt(heads, "mean_a")     # doctest: +SKIP
"""

import lazy_loader

# Names stand in __init__.pyi alone; pandas, scipy and matplotlib are imported when one that needs them is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
