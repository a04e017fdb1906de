"""Parts of speech come from a lexicon and are never guessed."""

from __future__ import annotations

import pytest

from metastable.material.parts_of_speech import UNKNOWN, part_of_speech, parts_of_speech


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hardship", "NOUN"),
        ("hope", "NOUN+VERB"),
        ("quickly", "ADV"),
        ("children", "NOUN*"),
        ("dogs", "NOUN*+VERB*"),
        ("went", "VERB*"),
        ("baking soda", UNKNOWN),
        ("zxqv", UNKNOWN),
        ("null", "ADJ+NOUN+VERB"),
    ],
)
def test_every_part_of_speech_is_named_and_inflected_forms_are_marked(word: str, expected: str) -> None:
    assert part_of_speech(word) == expected


def test_words_keep_their_order() -> None:
    series = parts_of_speech(["hardship", "zxqv", "went"])
    assert series.name == "part_of_speech"
    assert series.index.tolist() == ["hardship", "zxqv", "went"]
    assert series.tolist() == ["NOUN", UNKNOWN, "VERB*"]
