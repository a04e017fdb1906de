"""The built-in carrier sentences: many, of varied structure, with room for any noun."""

import numpy as np

from metastable.material.carriers import CARRIERS, SLOT, load_carriers, split_carrier


def test_there_are_at_least_forty_and_none_twice():
    assert len(set(CARRIERS)) == len(CARRIERS) >= 40


def test_a_file_of_them_is_read_as_they_are(tmp_path):
    path = tmp_path / "carriers.txt"
    path.write_text("\n".join(CARRIERS))
    assert load_carriers(path) == CARRIERS


def test_the_noun_stands_early_and_late_with_a_word_after_it_and_a_determiner_before_it():
    places = []
    for carrier in CARRIERS:
        words, position = split_carrier(carrier, "dog")
        assert words[position - 1].lower() in {"the", "this", "their"}
        assert any(word[0].isalpha() for word in words[position + 1 :])
        letters = [word for word in words if word[0].isalpha()]
        places.append(position / (len(letters) - 1))
    counts, _ = np.histogram(places, bins=[0, 0.25, 0.5, 0.75, 1.0])
    assert (counts >= 5).all()


def test_the_noun_is_subject_and_object_and_behind_prepositions():
    prepositions = {"about", "for", "at", "of", "with", "without", "despite", "on", "except"}
    before = [carrier.split(SLOT)[0].lower().split() for carrier in CARRIERS]
    behind = [words[-2] in prepositions for words in before if len(words) > 1]
    assert 10 <= sum(behind) <= 25
    assert sum(len(words) == 1 for words in before) >= 5
