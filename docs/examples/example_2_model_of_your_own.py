"""
A model of your own
===================

Any Hugging Face model whose attention can be reached is read by its name, or from a folder in which it was saved.
Here it is a BERT of two layers with random weights: it has learned nothing, and so shows what the tests say of a
model in which there is nothing to learn of.
"""

# %%
# The texts
# ---------

import tempfile
import textwrap
from pathlib import Path

import pandas as pd
import torch
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils.logging import disable_progress_bar

import metastable

near = ["the cat sat on the mat", "a dog ran to the door", "the bird is in the tree", "a fish swims in the pond"]
far = ["ships sail across the ocean", "stars burn in the sky", "clouds drift over a hill", "planes fly to the north"]
frame = pd.DataFrame(
    [
        {"condition": condition, "text": f"{text} {ending}"}
        for condition, texts in (("near", near), ("far", far))
        for text in texts
        for ending in ("today", "at night", "in winter")
    ]
)
frame.sample(4, random_state=0)

# %%
# A model in a folder
# -------------------
# A tokenizer whose vocabulary is the words of these texts, and a model with weights drawn at random. Your own comes
# from your training, saved in the same way.

words = sorted({word for text in frame["text"] for word in text.split()})
tokenizer = BertTokenizer(
    vocab={word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
)
torch.manual_seed(0)
disable_progress_bar()
model = BertModel(
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
    )
)
folder = Path(tempfile.mkdtemp()) / "untrained"
model.save_pretrained(folder)
tokenizer.save_pretrained(folder)
print(*sorted(path.name for path in folder.iterdir()))

# %%
# The study
# ---------
# ``model`` takes the folder, or the name of a model on the Hugging Face Hub. Models are read from safetensors only,
# and no code of a model's folder is ever run.

result = metastable.run(
    frame, name="untrained", model=str(folder), permutations=1000, out=tempfile.mkdtemp(), progress=False
)
print(textwrap.fill(str(result), 76))

# %%
# Two layers of four heads. Weights without any training spread nearly evenly over all tokens, so that what differs is
# the length of the texts. The balance of the covariates, which stands before every test in a report, says so:

result.figure("balance")

# %%
result.figure("summary")
