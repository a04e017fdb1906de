"""Covariates of words and of sequences of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from wordfreq import word_frequency

from metastable.material.covariates import bare_word, sequence_covariates, text_word_covariates, word_covariates
from metastable.material.norms import load_norms, select_extremes
from metastable.models.encoders import BUNDLED_MODEL, load_tokenizer


def count_halves(words: Sequence[str]) -> list[int]:
    """A tokenizer that cuts words in pieces of two letters."""
    return [-(-len(word) // 2) for word in words]


def test_each_word_has_its_numbers_in_order() -> None:
    table = word_covariates(["dog", "baking soda", "null"], count_halves)
    assert list(table.index) == ["dog", "baking soda", "null"]
    assert table["characters"].tolist() == [3, 10, 4]
    assert table["word_pieces"].tolist() == [2, 6, 2]


def test_zipf_is_the_logarithm_of_occurrences_in_a_billion() -> None:
    import math

    table = word_covariates(["dog", "although", "qxzzqj"], count_halves)
    for word in ("dog", "although"):
        assert table.loc[word, "zipf"] == pytest.approx(math.log10(word_frequency(word, "en") * 1e9), abs=0.006)
    assert table.loc["qxzzqj", "zipf"] == 0


def test_sequence_covariates_are_means_over_its_words() -> None:
    table = word_covariates(["a", "dog", "elephants", "xx"], count_halves)
    means = sequence_covariates(["elephants", "dog", "dog"], 11, table)
    assert means == {
        "tokens": 11,
        "words": 3,
        "characters": 5,
        "word_pieces": 3,
        "zipf": pytest.approx((2 * table.loc["dog", "zipf"] + table.loc["elephants", "zipf"]) / 3),
    }


def test_raw_lists_differ_as_the_design_says() -> None:
    extremes = select_extremes(load_norms(), 3000, rng=0)
    count_pieces = load_tokenizer(BUNDLED_MODEL).count_pieces
    concrete = word_covariates(extremes.concrete["word"].tolist(), count_pieces).mean()
    abstract = word_covariates(extremes.abstract["word"].tolist(), count_pieces).mean()
    assert concrete.round(1).to_dict() == {"characters": 7.0, "word_pieces": 1.8, "zipf": 3.1}
    assert abstract.round(1).to_dict() == {"characters": 10.6, "word_pieces": 2.7, "zipf": 2.1}


def test_punctuation_of_a_text_belongs_to_no_word() -> None:
    count_pieces = load_tokenizer(BUNDLED_MODEL).count_pieces
    bare = word_covariates(["dog", "ran", "geht's", "elephants"], count_pieces)
    written = text_word_covariates(["(dog),", "ran!?", "geht's?", "“elephants”", "--"], count_pieces)
    np.testing.assert_array_equal(written.to_numpy()[:4], bare.to_numpy())
    assert written.loc["--"].isna().all()
    means = sequence_covariates(["(dog),", "--", "ran!?"], 9, written)
    assert means["word_pieces"] == bare.loc[["dog", "ran"], "word_pieces"].mean()
    # Unlike the marks, a sign that stands for a word stays.
    assert bare_word("🙂🙂") == "🙂🙂"
