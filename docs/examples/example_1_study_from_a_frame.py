"""
A study from a frame
====================

You have texts of two kinds and want to know whether a model's attention heads answer them differently. A pandas frame
with one row per text is enough.
"""

# %%
# The texts
# ---------
# Twelve pairs of sentences that differ in one noun, concrete in one and abstract in the other. The column ``pair``
# says which two belong together, so that they are compared with each other.

import tempfile
import textwrap

import pandas as pd

import metastable

concrete = ["cup", "tree", "river", "stone", "horse", "bridge", "window", "apple", "hammer", "candle", "boat", "garden"]
abstract = ["hope", "truth", "fear", "idea", "duty", "mercy", "honor", "belief", "reason", "guilt", "pride", "virtue"]

frame = pd.DataFrame(
    [
        {"condition": condition, "pair": pair, "text": f"He thought about the {noun} for a long time."}
        for condition, nouns in (("concrete", concrete), ("abstract", abstract))
        for pair, noun in enumerate(nouns, start=1)
    ]
)
frame.head()

# %%
# The study
# ---------
# One call reads the texts with the model, counts the attention of every head, tests every head, and writes a report.
# Without ``out`` the report goes to ``reports/`` where you stand.

result = metastable.run(frame, name="thoughts", permutations=1000, out=tempfile.mkdtemp(), progress=False)
print(textwrap.fill(str(result), 76))

# %%
# What was found
# --------------
# ``result.heads`` has one row per head and measure. These are the largest differences, as concrete minus abstract:

heads = result.heads[result.heads["measure"] == result.heads["measure"].iloc[0]]
largest = heads.reindex(heads["hedges_g"].abs().sort_values(ascending=False).index)
largest[["layer", "head", "mean_a", "mean_b", "difference", "hedges_g", "p_perm_fdr", "verdict"]].head()

# %%
# A figure of the report: the means of both conditions, their difference, and the verdict on every head. Twelve pairs
# are few: most heads are undecided, which is not the same as equal.

result.figure("summary")

# %%
# All figures of the report have names:

print(textwrap.fill(", ".join(result.figures), 76))

# %%
# The report itself is a folder: ``report.html`` to read, ``heads.html`` to point at heads, tables to go on with, and
# ``run.json``, from which all of it can be made again.

print(*sorted(path.name for path in result.report.parent.iterdir() if not path.name.startswith(".")), sep="\n")
