"""An entry of the table is refused where it would break what reads it."""

import subprocess
import sys

import pytest

from metastable.errors import InputError
from metastable.measures import COUNT, Measure


def measure(**changed):
    fields = {"name": "last_mass", "called": "last mass", "definition": "a share", "help": "a share"} | changed
    return Measure(of_rows=lambda rows: rows.weights[..., -1], **fields)


@pytest.mark.parametrize("name", ["token", "mean_count", "Last", "last mass", "last-mass", ""])
def test_a_name_that_the_cube_cannot_hold_is_refused(name):
    with pytest.raises(InputError, match="give it a name of lower-case letters"):
        measure(name=name)


@pytest.mark.parametrize("text", ["the {unti} of it", "{}", "{unit"])
def test_an_unknown_word_in_braces_is_refused(text):
    with pytest.raises(InputError, match="between braces stand only unit, one, entries, share"):
        measure(definition=text)


def test_the_words_in_braces_are_those_of_the_run():
    assert "of words of its attention row that together hold 50% of" in COUNT.fill(
        COUNT.definition.replace("{entries}", "{unit}"), unit="words", share="50%"
    )
    assert COUNT.fill("{one} {entries}") == "token entries"
    assert COUNT.fill("{one} {entries}", unit="words") == "word words"


def test_reading_the_table_does_not_import_torch():
    code = "import sys, metastable.measures as m; m.known_measures(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
