"""Blocks and batches hold every sequence once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, T5Config

from metastable.extraction.batches import make_batch, plan_batches, plan_blocks, suitable_batch_tokens
from tests.extraction.oracle import text_sequences

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


@given(st.integers(1, 500), st.integers(1, 60))
def test_blocks_cover_every_sequence_once(n: int, size: int) -> None:
    blocks = plan_blocks(n, size)
    assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(n))
    assert all(block.start % size == 0 for block in blocks)


@given(LENGTHS, st.integers(1, 300))
def test_batches_hold_every_sequence_once_within_the_budget(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths)
    batches = plan_batches(sizes, budget)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * sizes[batch].max() <= budget
    longest = [sizes[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(LENGTHS, st.integers(1, 300))
def test_batches_without_padding_are_of_one_length(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths)
    batches = plan_batches(sizes, budget, pads=False)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(set(sizes[batch])) == 1 for batch in batches)


@given(LENGTHS, st.integers(60, 300))
def test_no_batch_could_take_the_next_sequence(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths)
    for batch in plan_batches(sizes, budget)[:-1]:
        assert (len(batch) + 1) * sizes[batch].max() > budget


def test_padding_is_masked_and_words_follow_their_tokens() -> None:
    sequences = text_sequences([4, 7])
    batch = make_batch(sequences, {}, BertConfig(), pad_id=0, device="cpu", dtype="float32")
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0], [1] * 7]
    assert batch.present["text"].tolist() == [[True] * 4 + [False] * 3, [True] * 7]
    assert batch.inputs["input_ids"][0].tolist() == [*sequences[0].token_ids, 0, 0, 0]
    assert batch.words["text"][0].tolist() == [*sequences[0].word_index, -1, -1, -1]
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_a_decoder_reads_the_text_shifted_right() -> None:
    sequences = text_sequences([4, 6])
    config = T5Config(decoder_start_token_id=9)
    batch = make_batch(sequences, {}, config, pad_id=0, device="cpu", dtype="float32")
    assert batch.inputs["decoder_input_ids"][1].tolist() == [9, *sequences[1].token_ids[:-1]]
    assert batch.words["decoder"][1].tolist() == [-1, *sequences[1].word_index[:-1]]


def test_features_take_the_type_of_the_weights() -> None:
    features = {"pixel_values": np.zeros((2, 3, 4, 4)), "visual_attention_mask": np.array([[1, 0], [1, 1]])}
    batch = make_batch(text_sequences([4, 6]), features, BertConfig(), pad_id=0, device="cpu", dtype="bfloat16")
    assert batch.inputs["pixel_values"].dtype == torch.bfloat16
    assert batch.inputs["visual_attention_mask"].dtype == torch.int64
    assert batch.present["vision"].tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize(
    ("memory", "expected"),
    # a token of width 768 and 144 heads takes 4 (12 * 768 + 16 * 144) = 46,080 bytes of an eighth of what weights leave
    [
        (0, 4096),
        (10**9, 4096),
        (46_080 * 8 * 8192 + 4000, 8192),
        (46_080 * 8 * 8192 + 3999, 4096),
        (80 * 10**9, 1 << 16),
    ],
)
def test_a_batch_on_a_card_takes_its_share_of_the_memory(memory: int, expected: int, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=memory))
    weights = torch.nn.Linear(1000, 1, bias=False)
    weights.config = BertConfig(hidden_size=768)
    encoder = SimpleNamespace(device="cuda:0", model=weights, sites=[SimpleNamespace(n_heads=12, n_layers=12)])
    assert suitable_batch_tokens(encoder) == expected
    assert suitable_batch_tokens(SimpleNamespace(device="cpu")) == 4096
