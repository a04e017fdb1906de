"""TVQA's files are read as they come, and what is wrong in one is told by row."""

from __future__ import annotations

import hashlib
import json
import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.material.corpora import Corpus, load_tvqa, normalize_answer, rate_answers
from metastable.material.norms import load_norms

DATA = Path(os.environ.get("METASTABLE_DATA", Path(__file__).parents[3] / "shared" / "data"))
TVQA_PLUS = DATA / "tvqa_plus_val.jsonl"

needs_data = pytest.mark.skipif(
    not TVQA_PLUS.is_file(), reason=f"no {TVQA_PLUS.name}: set METASTABLE_DATA to the folder that holds it"
)

QUESTION: dict[str, Any] = {
    "qid": 7,
    "q": "What is Penny holding?",
    "a0": "A cup.",
    "a1": "Beer",
    "a2": "Nothing",
    "a3": "null",
    "a4": "Water bottle.",
    "answer_idx": 4,
    "ts": "0.0-5.4",
    "vid_name": "s01e02_seg02_clip_12",
    "show_name": "The Big Bang Theory",
}


def write(path: Path, *questions: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(question) + "\n" for question in questions), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tvqa_plus() -> Corpus:
    return load_tvqa([TVQA_PLUS])


def test_a_line_becomes_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "tvqa_val.jsonl", QUESTION, {**QUESTION, "qid": 8, "answer_idx": 3})
    corpus = load_tvqa([path])
    assert corpus.table.iloc[0].to_dict() == {
        "qid": 7,
        "question": "What is Penny holding?",
        **{f"a{i}": QUESTION[f"a{i}"] for i in range(5)},
        "answer_idx": 4,
        "answer": "Water bottle.",
        "entry": "water bottle",
        "clip": "s01e02_seg02_clip_12",
        "show": "The Big Bang Theory",
        "file": "tvqa_val.jsonl",
        "row": 1,
    }
    assert corpus.table["entry"].tolist() == ["water bottle", "null"]
    assert corpus.sha256 == {"tvqa_val.jsonl": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_several_files_are_joined_in_order(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", QUESTION)
    val = write(tmp_path / "val.jsonl", {**QUESTION, "qid": 1})
    assert load_tvqa([train, str(val)]).table["qid"].tolist() == [7, 1]
    with pytest.raises(InputError, match=r"train\.jsonl, row 1: question 7 is given at train\.jsonl, row 1 already"):
        load_tvqa([train, train])


def test_the_public_test_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    without = {key: value for key, value in QUESTION.items() if key != "answer_idx"}
    path = write(tmp_path / "tvqa_test_public.jsonl", without)
    with pytest.raises(InputError) as error:
        load_tvqa([path])
    message = str(error.value)
    assert message.startswith("tvqa_test_public.jsonl, row 1: there is no 'answer_idx'")
    assert "the correct answer is not known" in message
    assert message.endswith("give tvqa_train.jsonl or tvqa_val.jsonl")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"qid": 3, "q"', "not JSON"),
        ("[1, 2]", "holds a list where a question belongs"),
        (json.dumps({**QUESTION, "q": None}), "'q' is missing or not text"),
        (json.dumps({key: value for key, value in QUESTION.items() if key != "a3"}), "'a3' is missing"),
        (json.dumps({**QUESTION, "qid": "8"}), "'qid' is missing or not a whole number"),
        (json.dumps({**QUESTION, "qid": 8, "answer_idx": 5}), "'answer_idx' is 5"),
        (json.dumps({**QUESTION, "qid": 8, "answer_idx": "4"}), "'answer_idx' is '4'"),
        (json.dumps({**QUESTION, "qid": 8, "answer_idx": True}), "'answer_idx' is True"),
    ],
)
def test_malformed_lines_are_told_with_file_and_row(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(QUESTION) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_tvqa([path])
    assert str(error.value).startswith("mine.jsonl, row 3: ")
    assert reason in str(error.value)


def test_files_that_hold_no_questions_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no TVQA file is given"):
        load_tvqa([])
    with pytest.raises(InputError, match=r"there is no file .*absent\.jsonl"):
        load_tvqa([tmp_path / "absent.jsonl"])
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match=r"empty\.jsonl: no question"):
        load_tvqa([tmp_path / "empty.jsonl"])
    (tmp_path / "tvqa.tar.gz").write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(InputError, match="unpack the archive"):
        load_tvqa([tmp_path / "tvqa.tar.gz"])


@pytest.mark.parametrize(
    ("answer", "entry"),
    [
        ("Water bottle .", "water bottle"),
        ("  “Yes!” ", "yes"),
        ("T-shirt.", "t-shirt"),
        ("it's", "it's"),
        ("ice\t cream", "ice cream"),
        ("...", ""),
        ("", ""),
    ],
)
def test_answers_are_normalized(answer: str, entry: str) -> None:
    assert normalize_answer(answer) == entry


@given(st.text(alphabet=string.ascii_letters + string.punctuation + string.whitespace + "“”…", max_size=20))
def test_normalized_answers_are_bare_and_stay_so(answer: str) -> None:
    entry = normalize_answer(answer)
    assert normalize_answer(entry) == entry == entry.lower()
    assert not entry or (entry[0].isalpha() and entry[-1].isalpha())
    assert entry.replace(" ", "") in "".join(answer.lower().split())


def test_lookup_ignores_case_and_prefers_the_same_spelling(tmp_path: Path) -> None:
    norms_file = tmp_path / "norms.csv"
    norms_file.write_text("word,rating\nPolish,4\npolish,3\nID card,5\n", encoding="utf-8")
    answers = ["ID Card.", "Polish", "unknown"]
    path = write(
        tmp_path / "val.jsonl",
        *({**QUESTION, "qid": i, "a0": answer, "answer_idx": 0} for i, answer in enumerate(answers)),
    )
    rated = rate_answers(load_tvqa([path]), load_norms(norms_file, two_word=True))
    assert rated[["entry", "rating", "scaled"]].to_numpy().tolist() == [["id card", 5, 1], ["polish", 3, 0.5]]
    assert rated["qid"].tolist() == [0, 1]


@needs_data
def test_tvqa_plus_answers_are_entries_of_mt40k(tvqa_plus: Corpus) -> None:
    rated = rate_answers(tvqa_plus, load_norms(two_word=True))
    assert len(tvqa_plus.table) == 3017
    assert tvqa_plus.table["clip"].nunique() == 431
    assert len(rated) == 286
    assert (rated["scaled"] > 0.95).sum() == 56
    assert (rated["scaled"] < 0.3).sum() == 43
    assert "water bottle" in set(rated["entry"])


@needs_data
def test_single_words_alone_find_fewer_answers(tvqa_plus: Corpus) -> None:
    rated = rate_answers(tvqa_plus, load_norms())
    assert len(rated) < 286
    assert not rated["entry"].str.contains(" ").any()


@pytest.mark.parametrize("show", [None, ""])
def test_a_question_without_a_show_has_none(tmp_path, show):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({**QUESTION, "show_name": show}) + "\n")
    assert load_tvqa([path]).table["show"].tolist() == [""]
