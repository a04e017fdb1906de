"""How alike the words of a sequence are, and how often its pieces repeat, against plain loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from metastable.material.likeness import with_distinct_pieces, with_word_likeness
from metastable.models.embeddings import input_embeddings
from metastable.models.encoders import BUNDLED_MODEL, load_encoder, load_tokenizer
from metastable.study import Material, Sequence


def sequence(name: str, text: str) -> Sequence:
    encoded = load_tokenizer(BUNDLED_MODEL).encode(text)
    return Sequence(name, "a", tuple(text.split()), encoded.text, encoded.token_ids, encoded.word_index)


MATERIAL = Material(tuple(sequence(str(i), text) for i, text in enumerate(
    ["dog dog dog", "the dogged dogmatist dogs dog", "truth justice hope elephants"]
)))  # fmt: skip


def test_pieces_that_repeat_are_counted_without_special_tokens() -> None:
    found = with_distinct_pieces(MATERIAL)
    for before, after in zip(MATERIAL.sequences, found.sequences, strict=True):
        ids = [i for i, word in zip(before.token_ids, before.word_index, strict=True) if word >= 0]
        assert after.covariates["distinct_pieces"] == len(set(ids)) / len(ids)
    assert found.sequences[0].covariates["distinct_pieces"] == pytest.approx(1 / 3)
    assert with_distinct_pieces(found) == found


def test_likeness_is_the_mean_cosine_of_all_pairs_of_words() -> None:
    encoder = load_encoder(BUNDLED_MODEL)
    matrix = encoder.model.get_input_embeddings().weight.detach().double().numpy()
    found = with_word_likeness(MATERIAL, lambda ids: input_embeddings(encoder.model, ids))
    for one in found.sequences:
        words = {word for word in one.word_index if word >= 0}
        pieces = [
            [i for i, w in zip(one.token_ids, one.word_index, strict=True) if w == word] for word in sorted(words)
        ]
        vectors = [matrix[ids].mean(axis=0) for ids in pieces]
        cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in combinations(vectors, 2)]
        assert one.covariates["word_likeness"] == pytest.approx(np.mean(cosines), rel=1e-5)
    assert found.sequences[0].covariates["word_likeness"] == pytest.approx(1.0)
    assert found.sequences[2].covariates["word_likeness"] < found.sequences[1].covariates["word_likeness"] < 1


def test_what_cannot_be_said_is_noted() -> None:
    short = Material((*MATERIAL.sequences, sequence("one", "dog")))
    told = with_word_likeness(short, lambda ids: np.ones((len(ids), 3), np.float32))
    assert "fewer than two words" in told.notes[-1]
    assert "word_likeness" not in told.sequences[0].covariates
    told = with_word_likeness(MATERIAL, lambda _: None)
    assert "no matrix of input embeddings" in told.notes[-1]


def test_a_model_without_embeddings_gives_none() -> None:
    import torch

    ids = np.array([1, 2])
    assert input_embeddings(torch.nn.Linear(2, 2), ids) is None

    class Tokens(torch.nn.Module):
        def __init__(self, rows: int, device: str = "cpu") -> None:
            super().__init__()
            self.table = torch.nn.Embedding(rows, 4, device=device)

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.table

    assert input_embeddings(Tokens(2), ids) is None
    assert input_embeddings(Tokens(3, "meta"), ids) is None
    found = input_embeddings(Tokens(3).half(), ids)
    assert found is not None
    assert found.shape == (2, 4)
    assert found.dtype == np.float32
