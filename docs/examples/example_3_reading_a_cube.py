"""
Reading a cube
==============

Every run keeps what it counted, query by query, in ``counts.zarr``. `metastable.load_counts` opens it as an xarray
Dataset: arrays with names, whose values are read when they are used.
"""

# %%
# A small run to read from
# ------------------------

import tempfile
import textwrap

import pandas as pd
from matplotlib.figure import Figure

import metastable

questions = [
    "Where is the book?", "Who has the key?", "What is in the box?", "When does the train leave?",
    "Where did he go?", "Who rang the bell?", "What did she find?", "When is the meeting?",
]  # fmt: skip
answers = [
    "The book is here.", "She has the key.", "A ring is in the box.", "The train leaves at nine.",
    "He went to the sea.", "The boy rang it.", "She found a coin.", "It is on Friday.",
]  # fmt: skip
frame = pd.DataFrame(
    [
        {"condition": condition, "pair": pair, "text": text}
        for condition, texts in (("question", questions), ("answer", answers))
        for pair, text in enumerate(texts, start=1)
    ]
)
result = metastable.run(frame, name="talk", permutations=256, out=tempfile.mkdtemp(), progress=False)

# %%
# The cube
# --------
# Its dimensions are sequence, site, layer, head, threshold and token; along the sequences lie their conditions, pairs
# and covariates.

counts = metastable.load_counts(result.report.parent / "counts.zarr")
print(dict(counts.sizes))
print(textwrap.fill(", ".join(map(str, counts.data_vars)), 76))

# %%
# Every variable says what it is:

for name in ("count", "special_mass"):
    print(textwrap.fill(f"{name}: {counts[name].attrs['description']}", 76))
print(counts.attrs["study"], counts.attrs["a"], counts.attrs["b"], counts.attrs["model"])

# %%
# Means by condition
# ------------------
# The mean count of each sequence and head stands beside the counts of the single tokens. Grouped by condition and
# averaged over sequences it is one number per head, and averaged over heads one per layer:

by_layer = counts["mean_count"].sel(threshold=0.9).groupby("condition").mean().mean(["site", "head"])
by_layer.to_pandas().round(2)

# %%
# pandas and matplotlib do the rest:

figure = Figure(figsize=(6, 2.6), layout="constrained")
axes = figure.subplots()
by_layer.to_pandas().T.plot(ax=axes, marker="o")
axes.set_ylabel("mean count")
figure

# %%
# Down to a token
# ---------------
# The count of every token of one sequence in layer 1, head 1; 0 marks what is no token of this sequence.

first = counts["count"].isel(sequence=0, site=0).sel(layer=1, head=1, threshold=0.9).to_numpy()
print(first[first > 0])

# %%
# Their mean is the mean count of this sequence, one of the measures that the run tested:

mean = counts["mean_count"].isel(sequence=0, site=0).sel(layer=1, head=1, threshold=0.9).item()
print(round(first[first > 0].mean(), 3), round(mean, 3))
