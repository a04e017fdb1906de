"""The attention that the browser shows is the model's, with the right words beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metastable.browser.attention import attention_of, text_tokens
from metastable.extraction import extract
from metastable.models.encoders import load_tokenizer, wrap_model
from metastable.study import Sequence
from tests.extraction.oracle import features_for, image_sequences, plain_attention, text_sequences
from tests.extraction.tiny_models import tiny_model

LENGTHS = [4, 11, 7, 9]
THRESHOLDS = (0.9, 0.5)


@pytest.mark.parametrize("name", ["bert", "mpnet", "bart", "vit", "lxmert", "qwen3-next"])
def test_weights_and_counts_match_one_sequence_at_a_time(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    encoder = wrap_model(model)
    sequences = image_sequences(4) if name == "vit" else text_sequences(LENGTHS)
    features = features_for(name, len(sequences))
    attend = attention_of(encoder, sequences, thresholds=THRESHOLDS, features=features, batch_tokens=24)
    heads = [(site.name, layer, 2) for site in encoder.sites for layer in site.layer_numbers[:: site.n_layers - 1]]
    found = list(attend({3: heads, 0: heads, 1: heads[:1]}))
    assert sorted((item.sequence, item.head) for item in found) == sorted(
        [(place, head) for place in (0, 3) for head in heads] + [(1, heads[0])]
    )
    cube = extract(encoder, sequences, thresholds=THRESHOLDS, features=features, path=tmp_path / "c.zarr").dataset
    numbers = {site.name: site.layer_numbers for site in encoder.sites}
    for item in found:
        own = {key: values[item.sequence] for key, values in features.items()}
        site, layer, head = item.head
        expected = plain_attention(model, sequences[item.sequence], own)[site][numbers[site].index(layer)][head - 1]
        assert item.weights.shape == expected.shape == (len(item.queries), len(item.keys))
        np.testing.assert_allclose(item.weights, expected, atol=1e-5)
        counts = cube["count"].sel(site=site, layer=layer, head=head).isel(sequence=item.sequence).to_numpy()
        # another batch may move a sum that lies on the threshold
        assert (counts[:, : len(item.queries)] == item.counts.T).mean() > 0.98


def test_a_short_sequence_beside_a_long_one_is_shown_as_it_reads_alone() -> None:
    model = tiny_model("phi3-longrope")
    sequences = text_sequences([10, 40])
    for item in attention_of(wrap_model(model), sequences)({0: [("self", 2, 1)], 1: [("self", 2, 1)]}):
        expected = plain_attention(model, sequences[item.sequence], {})["self"][1][0]
        np.testing.assert_allclose(item.weights, expected, atol=1e-5)


def test_a_decoder_reads_the_text_shifted_by_one() -> None:
    encoder = wrap_model(tiny_model("bart"), load_tokenizer())
    (sequence,) = text_sequences([6])
    attend = attention_of(encoder, [sequence])
    (item,) = attend({0: [("cross", 1, 1)]})
    texts = [token.text for token in text_tokens(sequence, load_tokenizer())]
    assert [token.text for token in item.keys] == texts
    assert [token.text for token in item.queries] == ["start", *texts[:-1]]


def test_tokens_are_spelled_as_a_reader_knows_them() -> None:
    tokenizer = load_tokenizer()
    words = ("Dog", "unbelievableness", "naïve")
    encoded = tokenizer.encode_words(words)
    sequence = Sequence("s", "a", words, encoded.text, encoded.token_ids, encoded.word_index)
    tokens = text_tokens(sequence, tokenizer)
    assert [token.word for token in tokens] == list(encoded.word_index)
    assert tokens[1].text == "Dog"
    pieces = [token.text for token in tokens if token.word == 1]
    assert len(pieces) > 1
    assert "".join(pieces) == "unbelievableness"
    assert tokens[0].text == "[CLS]"
    assert not any("##" in token.text for token in tokens)


def test_nothing_wanted_runs_no_model() -> None:
    attend = attention_of(wrap_model(tiny_model("bert")), text_sequences(LENGTHS))
    assert list(attend({})) == []


def test_no_layer_is_run_behind_the_last_that_is_shown() -> None:
    model = tiny_model("bert")
    sequences = text_sequences([6, 6, 6])
    read = []
    for number, layer in enumerate(model.encoder.layer, start=1):
        layer.register_forward_pre_hook(lambda _, inputs, number=number: read.append((number, len(inputs[0]))))
    attend = attention_of(wrap_model(model), sequences)
    last = len(model.encoder.layer)
    read.clear()
    list(attend({0: [("self", 1, 1)], 2: [("self", 1, 2)], 1: [("self", last, 1), ("self", 1, 1)]}))
    # the first batches are those that try the model
    assert read[-1 - last :] == [(1, 2), *((number, 1) for number in range(1, last + 1))]
