"""A table is the same table in whatever file it is saved."""

import json

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.material.separators import separator_of
from metastable.material.tables import column_key, read_table, table_of_frame

FRAME = pd.DataFrame(
    {
        "Condition": ["near", "far", "far"],
        "text": ["a red fox", "an old idea; and, more", "naïve"],
        "arousal": [1.5, 2.0, 30.25],
        "n": [1, 2, 3],
    }
)
CELLS = [("near", "a red fox", "1.5", "1"), ("far", "an old idea; and, more", "2", "2"), ("far", "naïve", "30.25", "3")]


def saved(folder, kind):
    path = folder / f"t.{kind.split()[0]}"
    if kind == "xlsx":
        FRAME.to_excel(path, index=False)
    elif kind == "jsonl":
        FRAME.to_json(path, orient="records", lines=True, force_ascii=False)
    elif kind == "parquet":
        FRAME.to_parquet(path)
    else:
        sep = {"tsv": "\t", "csv semicolons": ";", "txt tabs": "\t", "csv bars": "|"}.get(kind, ",")
        FRAME.to_csv(path, index=False, sep=sep)
    return path


@pytest.mark.parametrize("kind", ["csv", "csv semicolons", "csv bars", "tsv", "txt tabs", "xlsx", "jsonl", "parquet"])
def test_every_kind_of_file_holds_the_same_cells(tmp_path, kind):
    table = read_table(saved(tmp_path, kind), known={"condition", "text"})
    assert table.columns == ("Condition", "text", "arousal", "n")
    read = [tuple(cell.removesuffix(".0") for cell in row.cells) for row in table.rows]
    assert read == CELLS
    assert len(table.sha256) == 64


def test_a_frame_is_a_table_whose_rows_count_as_iloc_does():
    table = table_of_frame(FRAME)
    assert [row.cells for row in table.rows] == CELLS
    assert [row.number for row in table.rows] == [0, 1, 2]
    assert table_of_frame(FRAME.iloc[::-1]).sha256 != table.sha256
    assert table_of_frame(FRAME.set_index("n")).columns[0] == "n"


def test_what_frames_call_missing_is_an_empty_cell():
    frame = pd.DataFrame(
        {"a": ["x", None, pd.NA], "b": [1.0, np.nan, 3.0], "c": pd.Series([1, None, 3], dtype="Int64")}
    )
    assert [row.cells for row in table_of_frame(frame).rows] == [("x", "1", "1"), ("", "", ""), ("", "3", "3")][::2]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "x,X\n1,2\n", "a.csv, row 1: the column x is there twice"),
        ("a.csv", "x,y\n1,2,3\n", "a.csv, row 2: it has 3 cells and the header 2"),
        ("a.jsonl", '{"x": 1}\n[1]\n', "a.jsonl, row 2: holds a list"),
        ("a.jsonl", '{"x": 1}\n{"x"\n', "a.jsonl, row 2: not JSON"),
        ("a.jsonl", '{"x": "\\ud83d"}\n', "a.jsonl, row 1: .* is half a character"),
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.parquet", "x", "cannot be read as parquet"),
        ("a.doc", "x", "files end in"),
    ],
)
def test_bad_files_are_refused_by_row(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_table(tmp_path / name)


def test_the_line_that_excel_writes_for_itself_is_taken(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\nx;y\n1,5;a,b\n")
    table = read_table(tmp_path / "a.csv")
    assert (table.columns, table.rows[0].cells, table.rows[0].number) == (("x", "y"), ("1,5", "a,b"), 3)


@pytest.mark.parametrize(
    ("text", "known", "mark"),
    [
        ("Hund;4,5\nIdee;1,4\nTisch;3,1", (), ";"),
        ("condition,text\na,one; two; three; four\n", {"condition", "text"}, ","),
        ("condition;text\na;one, two, three\n", {"condition", "text"}, ";"),
        ("word\trating\ndog\t4,5\n", (), "\t"),
        ("a,b\n", (), ","),
    ],
)
def test_the_separator_is_that_of_the_one_reading_that_holds(tmp_path, text, known, mark):
    assert separator_of(tmp_path / "a.csv", text, known) == mark


def test_two_readings_are_refused_with_both(tmp_path):
    with pytest.raises(InputError, match=r"a\.csv: .*semicolons.*commas|commas.*semicolons"):
        separator_of(tmp_path / "a.csv", "dog,4;5\ncat,3;2\n")


def test_names_that_differ_in_spelling_alone_are_one():
    assert {column_key(name) for name in ("text_b", "Text B", " TEXT-B", "text.b")} == {"text_b"}


def test_objects_of_json_may_lack_a_key(tmp_path):
    rows = [{"condition": "a", "text": "x"}, {"condition": "b", "text": "y", "pair": 3, "more": ["u"]}]
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    table = read_table(tmp_path / "a.jsonl")
    assert [row.cells for row in table.rows] == [("a", "x", "", ""), ("b", "y", "3", '["u"]')]
    assert [row.number for row in table.rows] == [1, 3]
