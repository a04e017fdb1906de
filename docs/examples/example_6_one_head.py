"""
One head, checked by the standard tools
=======================================

A report names the heads that differ. Before one of them goes into a paper, look at its data, set the numbers of the
tools that your reviewers know beside those of the report, and ask how many texts the next study needs.
"""

# %%
# A study of pairs
# ----------------
# Sixteen pairs of sentences that differ in one noun.

import tempfile
import textwrap

import pandas as pd

import metastable

concrete = "cup tree river stone horse bridge window apple hammer candle boat garden kettle ladder mountain pencil"
abstract = "hope truth fear idea duty mercy honor belief reason guilt pride virtue freedom wisdom justice theory"

frame = pd.DataFrame(
    [
        {"condition": condition, "pair": pair, "text": f"Nobody had spoken of the {noun} before that morning."}
        for condition, nouns in (("concrete", concrete.split()), ("abstract", abstract.split()))
        for pair, noun in enumerate(nouns, start=1)
    ]
)
folder = tempfile.mkdtemp()
result = metastable.run(frame, name="mornings", permutations=2000, out=folder, progress=False)

# %%
# The head with the largest difference:

own = result.heads[result.heads["measure"] == result.heads["measure"].iloc[0]]
strongest = own.loc[own["hedges_g"].abs().idxmax()]
head = result.head(int(strongest["layer"]), int(strongest["head"]))

# %%
# Its data
# --------
# One row a text, as pingouin, seaborn and R like it.

head.frame[["condition", "pair", "value", "text"]].head()

# %%
# A paragraph for the paper
# -------------------------
# Every number is from the tables, and each p-value says whether it is corrected, and how.

print(textwrap.fill(head.sentence, 76))

# %%
# The same numbers by other hands
# -------------------------------
# ``check`` runs scipy, pingouin and statsmodels on this head. ``agrees`` is empty where no tool answers the same
# question; the column ``why`` says so.

check = head.check()
check[["quantity", "ours", "theirs", "agrees"]].round(4)

# %%
# How many pairs would it take?
# -----------------------------
# The run is the pilot: the spread of its pairs, and how its heads go together, are taken from it.

plan = metastable.plan(frame, name="mornings", effect=[0.5], permutations=2000, out=folder, progress=False)
plan.table[["test", "n_a", "low", "high", "how"]]
