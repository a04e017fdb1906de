"""Running text at a fixed length: what is read, and what is refused before a model is loaded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.models.encoders import load_tokenizer
from metastable.study.own_options import check_options, options_for
from studies.running_text import STUDY

pytestmark = pytest.mark.usefixtures("undrawn_figures")

WORDS = [
    *("river", "stone", "law", "hope", "window", "justice", "bread", "the", "of", "and", "under", "slowly"),
    *("remembers", "unthinkable", "parliament", "a", "to", "whether", "engineers", "reservoir"),
]


def text(path, n, seed=0):
    words = np.random.default_rng(seed).choice(WORDS, n)
    path.write_text("\n".join(" ".join(words[i : i + 12]) for i in range(0, n, 12)), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("running")
    options = ["--text", text(made / "book.txt", 1500), "--length", "64", "--sequences", "6", "--permutations", "99"]
    assert main(["running_text", *options, "--out", str(made)], package=studies) == 0
    return made / "running_text"


def test_every_sequence_has_exactly_the_length(folder):
    sequences = pd.read_parquet(folder / "sequences.parquet")
    assert sequences["n_tokens"].unique().tolist() == [64]
    assert sequences["condition"].value_counts().to_dict() == {"first": 6, "second": 6}


def test_the_modes_are_those_of_the_counts_over_64_keys(folder):
    table = pd.read_csv(folder / "modes.csv")
    assert len(table) == 2 * 72
    assert (table[["fewest_keys", "usual_keys", "most_keys"]] == 64).all().all()
    heads = pd.read_csv(folder / "heads.csv").query("measure == 'count'")
    for condition, column in (("first", "median_a"), ("second", "median_b")):
        mine = table[table["condition"] == condition]
        np.testing.assert_allclose(mine["share_median"] * 64, heads[column])
        share = heads[column].to_numpy() / 64
        expected = np.select([share > 1 / 2, share > 1 / 8, share > 1 / 32], ["I", "II", "III"], "IV")
        assert mine["mode"].tolist() == expected.tolist()
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "Every query sees *N* = 64 keys." in report
    assert "| I | averages over very many | above 32 |" in report
    assert "| III | averages over some | above 2, up to 8 |" in report
    assert "(figures/modes.png)" in report


def test_two_texts_are_compared_and_halves_are_of_each_file(tmp_path):
    tokenizer = load_tokenizer()
    one, two = text(tmp_path / "one.txt", 600), text(tmp_path / "two.txt", 600, seed=1)
    of_files = STUDY.build(options_for(STUDY, text=[one], against=[two], length=40), tokenizer)
    assert "first: one.txt, 600 words" in of_files.notes[0]
    assert "second: two.txt, 600 words" in of_files.notes[1]
    halves = STUDY.build(options_for(STUDY, text=[one, two], length=40), tokenizer)
    assert "first: the first half of one.txt, two.txt, 600 words" in halves.notes[0]
    assert set(halves.sources) == {"one.txt SHA-256", "two.txt SHA-256"}
    # the words of a half stand in the file in their order
    whole = " ".join((tmp_path / "one.txt").read_text().split())
    places = [whole.find(s.text) for s in of_files.sequences if s.condition == "first"]
    assert all(a < b for a, b in pairwise(places))
    assert places[0] >= 0


def test_what_cannot_do_is_refused_in_one_sentence(tmp_path):
    short = text(tmp_path / "short.txt", 60)
    with pytest.raises(InputError, match=r"needs plain text of your own: .* --text FILE"):
        check_options(STUDY, options_for(STUDY))
    told = r"--length 512: the first half of short.txt has 30 words, too few for any tokenizer; each condition needs 2"
    with pytest.raises(InputError, match=told):
        check_options(STUDY, options_for(STUDY, text=[short]))
    enough = options_for(STUDY, text=[text(tmp_path / "long.txt", 2000)], against=[short], length=64)
    check_options(STUDY, enough)
    tokenizer = load_tokenizer()
    with pytest.raises(InputError, match=r"--length 64: short.txt has 60 words, which make (none|1); each condition"):
        STUDY.build(enough, tokenizer)
    with pytest.raises(InputError, match=r"--length 1024: .* reads at most 512 tokens"):
        STUDY.build(replace(enough, own={**enough.own, "length": 1024}), tokenizer)
