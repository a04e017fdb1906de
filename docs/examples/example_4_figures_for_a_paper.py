"""
Figures for a paper
===================

The figures of a report are functions of its tables. They draw single panels, take titles and limits of yours, come
with a text for readers who cannot see them, and are saved as svg and png that do not change from one run to the next.
"""

# %%
# A table of heads
# ----------------
# It may come from a run, as here, or from a report's file: ``pandas.read_parquet("reports/STUDY/heads.parquet")``, in
# which the names of the conditions travel with the table.

import tempfile
import textwrap
from pathlib import Path

import pandas as pd

import metastable
from metastable import figures

places = "kitchen forest harbor market station meadow cellar tower valley island street desert".split()
times = "moment season century evening decade holiday minute future morning summer weekend autumn".split()
frame = pd.DataFrame(
    [
        {"condition": condition, "pair": pair, "text": f"They talked about the {noun} and then they left again."}
        for condition, nouns in (("place", places), ("time", times))
        for pair, noun in enumerate(nouns, start=1)
    ]
)
result = metastable.run(frame, name="talk", permutations=1000, out=tempfile.mkdtemp(), progress=False)
heads = result.heads
print(", ".join(heads["measure"].unique()))

# %%
# The map of the effects
# ----------------------
# Outlined heads are significant after correction for the number of heads.

measure = str(heads["measure"].iloc[0])
drawn = figures.difference_map(heads, "hedges_g", measure=measure, title="Places minus times")
drawn

# %%
# What it shows, in words
# -----------------------
# Every figure function has an alternative text that states the finding. It belongs in the figure's description in
# the paper and on the web.

words = figures.difference_map.alt(heads, "hedges_g", measure=measure)
print(textwrap.fill(words, 76))

# %%
# Saving it
# ---------
# The svg for the typesetter, the png for the draft, with the same words in both files:

folder = Path(tempfile.mkdtemp())
for path in figures.save_figure(drawn, folder, "map", alt=words):
    print(path.name)

# %%
# Beside each other
# -----------------
# The same effect in several measures on one scale: how many patterns a head mixes, and how many of them are words.

named = {"count of contributions": "count_contributions", "count over words": "count_words"}
figures.effect_maps({name: heads[heads["measure"] == measure] for name, measure in named.items()})

# %%
# With any tools of yours
# -----------------------
# A figure is a matplotlib figure, and a table a pandas frame.

layers = heads[heads["measure"] == measure].groupby("layer")["hedges_g"].agg(lambda g: g.abs().mean())
layers.round(2)
