"""Every reader of files, given any bytes, gives what it reads or one sentence that names the file."""

import json
import shutil
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.extraction.batches import plan_blocks
from metastable.extraction.store import Layout, create_store, load_counts
from metastable.heads.finished_report import read_report
from metastable.heads.frozen import read_frozen
from metastable.heads.record import CalibrationRecord, read_record
from metastable.material.corpora import load_tvqa
from metastable.material.norms import load_norms
from metastable.material.spreadsheets import read_rows
from metastable.material.texts import read_texts
from metastable.models.model_files import ModelSource, weight_files
from metastable.report.index import write_index
from metastable.runs.kept_settings import load_finished
from tests.report_folders import report_folder, signed

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HOSTILE = [
    b"", b"\0", b"{", b"null", b"[]", b"3", b'"', b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 100_000, b"PK\x03\x04",
    b'{"a": ' * 2000, b'{"n": ' + b"9" * 5000 + b"}", b'{"q": "\\ud83d"}', b'{"n": 1e999}', b'{"n": NaN}', b"PAR1",
    b"condition,text\na,b\n\"", b"word,rating\n\xc3\x28,3\n", b"a\x85b,c\nd,e\n", b"word\trating\r\rx\t2\r",
]  # fmt: skip


def sentence_of(read, *given):
    """Read; what is refused must be one short sentence."""
    try:
        read(*given)
    except InputError as error:
        told = str(error)
        assert told
        assert "\n" not in told
        return told
    return ""


def any_bytes(test):
    """Try hostile bytes, and any."""
    for content in HOSTILE:
        test = example(content)(test)
    return QUICK(given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))(test))


@st.composite
def damaged(draw, content):
    """Bytes with a few of them changed, cut off, left out or doubled."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "drop", "double"]))
        if kind == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and found:
            found[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del found[at:]
        elif kind == "drop":
            del found[at : at + draw(st.integers(1, 40))]
        else:
            found[at:at] = found[at : at + draw(st.integers(1, 40))]
    return bytes(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def with_other_values(draw, document):
    """A JSON document with some of its values replaced or left out."""
    found = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        place = found
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(JSON)
            break
    return found


def in_file(name, content, read):
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return sentence_of(read, path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".xlsx"])
def test_spreadsheets_of_any_bytes(suffix):
    @any_bytes
    def check(content):
        for read in (read_rows, read_texts, load_norms):
            in_file(f"x{suffix}", content, read)

    check()


@cache
def workbook():
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("condition", "text"), ("a", "one two"), ("b", 3.5), ("a", True), ("b", "four")):
        book.active.append(row)
    stream = BytesIO()
    book.save(stream)
    return stream.getvalue()


def repacked(change):
    """The workbook with the text of its sheet changed."""
    import zipfile

    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(workbook())) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            content = old.read(part)
            new.writestr(part.filename, change(content) if part.filename.endswith("sheet1.xml") else content)
    return stream.getvalue()


@settings(QUICK, max_examples=150)
@given(st.data())
def test_workbooks_with_damaged_bytes(data):
    in_file("x.xlsx", data.draw(damaged(workbook())), read_texts)


@QUICK
@given(st.data())
def test_workbooks_with_damaged_sheets(data):
    in_file("x.xlsx", repacked(lambda content: data.draw(damaged(content))), read_texts)


def test_a_workbook_that_would_fill_the_memory_is_refused_at_once():
    far = repacked(lambda content: content.replace(b'<row r="5"', b'<row r="30000000"'))
    assert "beyond 1,048,576" in in_file("x.xlsx", far, read_rows)
    blank = b" " * (300 << 20)
    full = repacked(lambda content: content.replace(b"</sheetData>", blank + b"</sheetData>"))
    assert len(full) < 2_000_000
    assert "save the sheet as csv" in in_file("x.xlsx", full, read_rows)
    wide = b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (row, row) for row in range(6, 3000))
    sparse = repacked(lambda content: content.replace(b"</sheetData>", wide + b"</sheetData>"))
    assert "cells up to row" in in_file("x.xlsx", sparse, read_rows)


def test_half_a_character_is_told_with_its_row(tmp_path):
    line = {f"a{i}": "x" for i in range(5)} | {"q": "\ud83d", "qid": 1, "answer_idx": 0, "vid_name": "v"}
    (tmp_path / "tvqa.jsonl").write_text(json.dumps(line | {"q": "fine", "qid": 2}) + "\n" + json.dumps(line))
    assert "tvqa.jsonl, row 2, 'q': character 1 is half a character (U+D83D)" in sentence_of(
        load_tvqa, [tmp_path / "tvqa.jsonl"]
    )


QUESTION = {
    **{f"a{i}": "x" for i in range(5)},
    "q": "why",
    "qid": 1,
    "answer_idx": 0,
    "vid_name": "v",
    "show_name": "s",
}


@any_bytes
def check_questions(content):
    in_file("tvqa.jsonl", content, lambda path: load_tvqa([path]))


def test_questions_of_any_bytes():
    check_questions()


@QUICK
@given(with_other_values(QUESTION))
def test_questions_with_other_values(question):
    in_file("tvqa.jsonl", json.dumps(question).encode(), lambda path: load_tvqa([path]))


@pytest.mark.parametrize("name", ["null", "missing"])
def test_a_question_without_a_show_has_none(tmp_path, name):
    question = {key: value for key, value in QUESTION.items() if key != "show_name"}
    path = tmp_path / "tvqa.jsonl"
    path.write_text(json.dumps(question | ({"show_name": None} if name == "null" else {})))
    assert load_tvqa([path]).table["show"].tolist() == [""]


def records():
    """A reader of every kind of record."""
    return (
        read_record,
        CalibrationRecord.read,
        lambda path: read_report(path.parent),
        lambda path: read_frozen(path.parent),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = report_folder(tmp_path_factory.mktemp("reports") / "one")
    (folder / "report.md").write_text("# x")
    return signed(folder)


def test_records_of_any_bytes(report):
    @any_bytes
    def check(content):
        with TemporaryDirectory() as home:
            folder = Path(home) / "one"
            shutil.copytree(report, folder)
            for name in ("run.json", "frozen.json"):
                (folder / name).write_bytes(content)
            for read in records():
                sentence_of(read, folder / "run.json")
            # one bad neighbour stops no index
            assert "one/report.md" not in write_index(Path(home)).read_text()

    check()


def test_records_with_other_values(report):
    document = json.loads((report / "run.json").read_text())

    @settings(QUICK, max_examples=150)
    @given(with_other_values(document))
    def check(changed):
        with TemporaryDirectory() as home:
            folder = Path(home) / "one"
            shutil.copytree(report, folder)
            (folder / "run.json").write_text(json.dumps(changed))
            for read in records():
                sentence_of(read, folder / "run.json")
            write_index(Path(home))

    check()


@pytest.mark.parametrize("name", ["heads.csv", "details.csv", "sequences.parquet"])
def test_tables_with_damaged_bytes(report, name):
    content = (report / name).read_bytes()

    @QUICK
    @given(damaged(content))
    def check(found):
        with TemporaryDirectory() as home:
            folder = Path(home) / "one"
            shutil.copytree(report, folder)
            (folder / name).write_bytes(found)
            if found != content:
                assert f"{name} is not the file that run.json was written with" in sentence_of(read_report, folder)
            sentence_of(read_report, signed(folder))

    check()


@any_bytes
def check_kept(content):
    with TemporaryDirectory() as folder:
        home = Path(folder) / ("k" * 16)
        home.mkdir()
        for name in ("facts.json", "heads.parquet", "omnibus.parquet"):
            (home / name).write_bytes(content)
        assert load_finished(Path(folder), "k" * 64) is None


def test_kept_settings_of_any_bytes_are_computed_anew():
    check_kept()


@any_bytes
def check_shards(content):
    with TemporaryDirectory() as folder:
        (Path(folder) / "model.safetensors.index.json").write_bytes(content)
        assert sentence_of(weight_files, ModelSource("m", folder, None, True))


def test_an_index_of_weights_of_any_bytes_is_refused():
    check_shards()


@pytest.mark.parametrize("mapping", [3, [], {}, {"a": 3}, {"a": "../up.safetensors"}, {"a": "\0"}, {"a": ["b"]}])
def test_an_index_of_weights_names_files_of_its_folder(tmp_path, mapping):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapping}))
    assert "write the model anew" in sentence_of(weight_files, ModelSource("m", str(tmp_path), None, True))


LAYOUT = Layout(
    identifiers=("s0", "s1", "s2"), sites=("self",), n_layers=1, n_heads=2, thresholds=(0.9,), n_tokens=4, max_count=4,
    measures=("entropy",), block=2,
)  # fmt: skip


def cube_at(path):
    store = create_store(path, LAYOUT, {"key": "k"})
    for block in plan_blocks(3, 2):
        arrays = LAYOUT.empty_block(block.stop - block.start)
        for number, values in enumerate(arrays.values()):
            values[:] = np.random.default_rng(number + block.start).integers(1, 4, values.shape)
        store.write(block, arrays)
    return store


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / "counts.zarr"
    cube_at(path)
    return path


@pytest.mark.parametrize("name", ["", "count", "mean_entropy", "threshold", "sequence", "checks", "checks/digests"])
def test_cubes_with_damaged_descriptions(cube, name):
    content = (cube / name / "zarr.json").read_bytes()
    values = load_counts(cube)["count"].to_numpy()

    @settings(QUICK, max_examples=40)
    @given(damaged(content) | with_other_values(json.loads(content)).map(lambda found: json.dumps(found).encode()))
    def check(found):
        with TemporaryDirectory() as home:
            path = Path(home) / "counts.zarr"
            shutil.copytree(cube, path)
            (path / name / "zarr.json").write_bytes(found)
            if not sentence_of(load_counts, path):
                # what is read in spite of the damage is what was written
                np.testing.assert_array_equal(load_counts(path)["count"].to_numpy(), values)

    check()
