"""Models that read a sequence by more than its tokens: counts against plain transformers, a batch of one."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.models.encoders import fit_lengths, wrap_model
from metastable.models.positions import attend_in_full, read_more
from metastable.study import Sequence
from tests.extraction.oracle import count_row, plain_attention, text_sequences
from tests.extraction.tiny_models import BERT_LIKE, tiny_model

THRESHOLDS = (0.5, 0.9)
LENGTHS = [4, 40, 11, 23, 64, 9]

# Rows of these depend on the longest sequence of the batch; of the others on nothing but the sequence itself.
MIXED_LENGTHS = ["phi3-longrope", "llama-dynamic", "deepseek-v32"]
ANY_LENGTH = [
    "bigbird",
    "bigbird-pegasus",
    "bloom",
    "deberta",
    "deepseek-v3",
    "falcon-alibi",
    "flaubert",
    "gpt-oss",
    "granite-swa",
    "mpt",
    "esm",
    "esm-rotary",
    "luke",
    "markuplm",
    "roberta-prelayernorm",
    "xmod",
    "bamba",
    "falcon-h1",
    "jamba",
    "lfm2",
    "nemotron-h",
    "qwen3-next",
    "zamba2",
]
WITH_IMAGES = ["gemma3-images", "idefics3", "llama4", "llava", "mistral3", "qwen2.5-vl"]


def _wrong(name: str, folder: Path, lengths: list[int], **options: Any) -> tuple[int, int]:
    """Count the counts that differ from those of each sequence alone, read by a model that has read nothing."""
    model = tiny_model(name)
    plain = copy.deepcopy(model)
    if name.startswith("bigbird"):
        attend_in_full(plain)  # as it does itself with these lengths, but then gives no weights
    encoder = wrap_model(model)
    sequences = text_sequences([min(length, encoder.max_length) for length in lengths])
    cube = extract(encoder, sequences, thresholds=THRESHOLDS, path=folder / "counts.zarr", **options).dataset["count"]
    n_wrong = n_rows = 0
    for index, sequence in enumerate(sequences):
        for site, layers in plain_attention(copy.deepcopy(plain), sequence, {}).items():
            for layer, heads in enumerate(layers):
                for k, threshold in enumerate(THRESHOLDS):
                    got = cube.sel(site=site)[index, layer, :, k].to_numpy()
                    for head, query in np.ndindex(heads.shape[:2]):
                        expected, near = count_row(heads[head, query], threshold)
                        n_rows += 1
                        n_wrong += not near and got[head, query] != expected
    return n_wrong, n_rows


@pytest.mark.parametrize("name", [*MIXED_LENGTHS, *ANY_LENGTH, *WITH_IMAGES])
def test_sequences_of_all_lengths_are_read_as_each_alone(name: str, tmp_path: Path) -> None:
    n_wrong, n_rows = _wrong(name, tmp_path, LENGTHS, batch_tokens=400)
    assert n_wrong == 0
    assert n_rows > 2000


def test_longrope_reads_a_short_sequence_beside_a_long_one_as_alone(tmp_path: Path) -> None:
    assert _wrong("phi3-longrope", tmp_path, [10, 40])[0] == 0


def test_dynamic_rope_does_not_remember_the_longest_sequence(tmp_path: Path) -> None:
    """Read after one of 60 tokens, one of 30 would be scaled as for 60."""
    assert _wrong("llama-dynamic", tmp_path, [60, 30, 20])[0] == 0


@pytest.mark.parametrize("name", MIXED_LENGTHS)
def test_a_model_that_reads_by_its_longest_sequence_reads_one_length_at_a_time(name: str) -> None:
    encoder = wrap_model(tiny_model(name))
    assert not fit_lengths(encoder, [9, 40]).pads


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "qwen3-next", "bart"])
def test_a_model_that_does_not_reads_all_lengths_together(name: str) -> None:
    encoder = wrap_model(tiny_model(name))
    fitted = fit_lengths(encoder, [3, 40, 9])
    assert fitted.pads
    assert fitted == encoder


def test_an_indexer_is_seen_at_the_length_of_the_study_alone() -> None:
    """DeepSeek-V3.2 keeps the twelve keys that its indexer likes best; six tokens are all kept."""
    encoder = wrap_model(tiny_model("deepseek-v32"))
    assert encoder.way == "interface"
    fitted = fit_lengths(encoder, [40])
    assert fitted.way == "eager"
    assert "differ in site 'self', layer 1 at the length of the sequences" in fitted.way_reason
    assert fit_lengths(encoder, [10]).way == "interface"


def test_bigbird_reads_as_many_tokens_as_it_attends_to_one_by_one(tmp_path: Path) -> None:
    encoder = wrap_model(tiny_model("bigbird"), model_id="bigbird")
    assert encoder.max_length == (5 + 2 * 2) * 4
    with pytest.raises(InputError, match=r"has 37 tokens but model 'bigbird' reads at most 36; shorten it, or .*full"):
        extract(encoder, text_sequences([37]), path=tmp_path / "counts.zarr")


def test_what_bigbird_is_told_to_change_helps() -> None:
    from transformers import AutoModel, BigBirdConfig

    config = BigBirdConfig(**BERT_LIKE, block_size=4, num_random_blocks=2)
    assert '"attention_type": "original_full" in its config.json' in read_more(config, 36)
    assert read_more(config, 30) == ""  # the tokenizer's limit
    config.attention_type = "original_full"
    encoder = wrap_model(AutoModel.from_config(config, attn_implementation="eager").eval())
    assert encoder.max_length == 64
    assert read_more(config, 64) == ""
    assert fit_lengths(encoder, [64]).way == "eager"


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
def test_a_padding_token_without_an_embedding_is_not_read(name: str, tmp_path: Path) -> None:
    from metastable.models.encoders import Tokenizer

    class Backend:
        pad_token_id = 60

    model = tiny_model(name)
    tokenizer = Tokenizer("tiny", None, Backend(), 64)
    with_padding = extract(wrap_model(model, tokenizer), text_sequences([4, 9]), path=tmp_path / "a.zarr")
    without = extract(wrap_model(model), text_sequences([4, 9]), path=tmp_path / "b.zarr")
    assert with_padding.dataset["count"].equals(without.dataset["count"])


@pytest.mark.parametrize("name", ["esm", "luke", "markuplm", "roberta", "roberta-prelayernorm", "xmod", "mpnet"])
def test_the_longest_text_of_positions_behind_the_padding_fits(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    encoder = wrap_model(model)
    padding = model.embeddings.position_embeddings.padding_idx
    assert encoder.max_length == 64 - padding - 1
    sequences: list[Sequence] = text_sequences([encoder.max_length])
    assert extract(encoder, sequences, path=tmp_path / "counts.zarr").n_sequences == 1
    with pytest.raises(InputError, match=f"reads at most {encoder.max_length}"):
        extract(encoder, text_sequences([encoder.max_length + 1]), path=tmp_path / "more.zarr")


def _failing_on(tokens: set[int]) -> Any:
    """Make a model that fails where some tokens are read together."""
    model = tiny_model("bert")

    def check(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if tokens <= set(inputs[0].flatten().tolist()):
            raise IndexError("no such thing")

    model.embeddings.word_embeddings.register_forward_pre_hook(check)
    return wrap_model(model, model_id="tiny")


def test_a_sequence_that_the_model_fails_on_is_named(tmp_path: Path) -> None:
    sequences = text_sequences([5, 5, 5, 5])
    encoder = _failing_on({58, 59})
    spoilt = replace(sequences[2], token_ids=(1, 58, 59, 7, 2))
    with pytest.raises(InputError) as raised:
        extract(encoder, [*sequences[:2], spoilt, sequences[3]], path=tmp_path / "counts.zarr")
    assert str(raised.value) == (
        "model 'tiny' cannot read sequence 's2' with its 5 tokens: its forward pass fails "
        "(IndexError: no such thing); leave it out, or give another model"
    )


def test_sequences_that_the_model_fails_on_together_are_named(tmp_path: Path) -> None:
    sequences = [replace(sequence, token_ids=(1, 6, 7, 8, 2)) for sequence in text_sequences([5, 5, 5, 5])]
    sequences[1] = replace(sequences[1], token_ids=(1, 58, 7, 8, 2))
    sequences[2] = replace(sequences[2], token_ids=(1, 59, 7, 8, 2))
    encoder = _failing_on({58, 59})
    with pytest.raises(InputError, match="cannot read sequences 's0' to 's3' together, though each alone"):
        extract(encoder, sequences, path=tmp_path / "counts.zarr")
    assert extract(encoder, sequences, path=tmp_path / "counts.zarr", batch_tokens=5).n_sequences == 4
