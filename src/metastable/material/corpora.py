"""Question-answer corpora: TVQA's files as one tidy table."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metastable.errors import InputError, one_line
from metastable.files import is_file, sha256_of
from metastable.material.norms import Norms, find_ratings
from metastable.material.spreadsheets import check_characters
from metastable.study import Option
from metastable.study.options import existing_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TVQA", "TVQA_HOME", "Corpus", "load_tvqa", "normalize_answer", "rate_answers"]

TVQA = Option("tvqa", existing_file, (),
              "TVQA's question files, jsonl (train and val; the public test file has no answers)",
              many=True)  # fmt: skip
"""The option of a study of TVQA's questions."""

TVQA_HOME = "https://github.com/jayleicn/TVQA/tree/master/data"
"""Where TVQA's question files can be had."""

_N_ANSWERS = 5
_TEXTS = ("q", *(f"a{i}" for i in range(_N_ANSWERS)), "vid_name")


@dataclass(frozen=True)
class Corpus:
    """Questions with candidate answers, of which one is correct.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per question, in the order of the files:

        * ``qid`` : int64, the question's number
        * ``question`` : str
        * ``a0`` to ``a4`` : str, the candidate answers
        * ``answer_idx`` : int64, which of them is correct
        * ``answer`` : str, the correct answer as written
        * ``entry`` : str, the correct answer as `normalize_answer` gives it
        * ``clip`` : str, the video clip that the question is about
        * ``show`` : str, the series; empty where the file does not say
        * ``file``, ``row`` : str and int64, where the question stands
    source : str
        What the questions are.
    sha256 : mapping of str to str
        SHA-256 of each file, by its name.
    """

    table: pd.DataFrame
    source: str
    sha256: Mapping[str, str]


def load_tvqa(paths: Iterable[str | Path]) -> Corpus:
    """Load TVQA questions from the official files, one JSON object a line.

    Parameters
    ----------
    paths : iterable of str or Path
        ``tvqa_train.jsonl``, ``tvqa_val.jsonl`` or both. The public test file will not do: it does not
        tell the correct answers.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        If a file is missing, a line is malformed or holds no correct answer, or a question is given
        twice; the message names file and row.

    References
    ----------
    Lei, J., Yu, L., Bansal, M., & Berg, T. L. (2018). TVQA: Localized, compositional video question
    answering. EMNLP. arXiv:1809.01696.
    """
    import pandas as pd

    files = [Path(path) for path in paths]
    if not files:
        raise InputError(f"no TVQA file is given; give tvqa_train.jsonl and tvqa_val.jsonl, which are at {TVQA_HOME}")
    records: list[dict[str, Any]] = []
    seen: dict[int, str] = {}
    for path in files:
        for row, line in enumerate(_read_lines(path), start=1):
            if not line.strip():
                continue
            where = f"{path.name}, row {row}"
            question = _parse(line, where)
            qid = question["qid"]
            if qid in seen:
                raise InputError(f"{where}: question {qid} is given at {seen[qid]} already; give each question once")
            seen[qid] = where
            answer = question[f"a{question['answer_idx']}"]
            records.append(
                {
                    "qid": qid,
                    "question": question["q"],
                    **{f"a{i}": question[f"a{i}"] for i in range(_N_ANSWERS)},
                    "answer_idx": question["answer_idx"],
                    "answer": answer,
                    "entry": normalize_answer(answer),
                    "clip": question["vid_name"],
                    "show": question.get("show_name") or "",
                    "file": path.name,
                    "row": row,
                }
            )
    if not records:
        raise InputError(f"{', '.join(path.name for path in files)}: no question there; give TVQA's files as they come")
    names = ", ".join(path.name for path in files)
    return Corpus(pd.DataFrame(records), f"TVQA ({names})", {path.name: sha256_of(path) for path in files})


def normalize_answer(answer: str) -> str:
    """Lower-case an answer, strip punctuation and white space around it, and leave single spaces within.

    Examples
    --------
    >>> normalize_answer(' "Water  bottle" .')
    'water bottle'
    """
    characters = answer.lower()
    start, stop = 0, len(characters)
    while start < stop and _is_margin(characters[start]):
        start += 1
    while stop > start and _is_margin(characters[stop - 1]):
        stop -= 1
    return " ".join(characters[start:stop].split())


def rate_answers(corpus: Corpus, norms: Norms) -> pd.DataFrame:
    """Select the questions whose correct answer is an entry of the norms.

    Parameters
    ----------
    corpus : Corpus
        Questions with answers.
    norms : Norms
        Ratings; load them with entries of two words, which answers often are.

    Returns
    -------
    pandas.DataFrame
        Those rows of `Corpus.table`, numbered anew, with the further columns

        * ``rating`` : float64, 1 (abstract) to 5 (concrete)
        * ``scaled`` : float64, (rating - 1) / 4
    """
    found = find_ratings(norms, corpus.table["entry"].tolist())
    rated = corpus.table.assign(rating=found["rating"].to_numpy(), scaled=found["scaled"].to_numpy())
    return rated.dropna(subset=["rating"], ignore_index=True)


def _is_margin(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] in "PS"


def _read_lines(path: Path) -> list[str]:
    if not is_file(path):
        raise InputError(f"there is no file {path}; TVQA's question files are at {TVQA_HOME}")
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not text; unpack the archive and give the jsonl files within it") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a file that you may read") from None


def _parse(line: str, where: str) -> dict[str, Any]:
    remedy = "give TVQA's files as they come, one JSON object a line"
    try:
        question = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at character {error.pos + 1}); {remedy}") from None
    except (ValueError, RecursionError) as error:
        # a number of thousands of digits, brackets within brackets
        raise InputError(f"{where}: JSON that cannot be read ({one_line(error)}); {remedy}") from None
    if not isinstance(question, dict):
        raise InputError(f"{where}: holds a {type(question).__name__} where a question belongs; {remedy}")
    for name in _TEXTS:
        if not isinstance(question.get(name), str):
            raise InputError(f"{where}: {name!r} is missing or not text; {remedy}")
        check_characters(question[name], f"{where}, {name!r}")
    show = question.get("show_name")
    if show is not None and not isinstance(show, str):
        raise InputError(f"{where}: 'show_name' is not text; {remedy}")
    check_characters(show or "", f"{where}, 'show_name'")
    if type(question.get("qid")) is not int or not -(2**63) <= question["qid"] < 2**63:
        raise InputError(f"{where}: 'qid' is missing or not a whole number of 64 bits; {remedy}")
    if "answer_idx" not in question:
        raise InputError(
            f"{where}: there is no 'answer_idx', so the correct answer is not known (TVQA's tvqa_test_public.jsonl "
            "does not tell it); give tvqa_train.jsonl or tvqa_val.jsonl"
        )
    index = question["answer_idx"]
    if type(index) is not int or not 0 <= index < _N_ANSWERS:
        raise InputError(
            f"{where}: 'answer_idx' is {index!r} and not a whole number from 0 to {_N_ANSWERS - 1}; {remedy}"
        )
    return question
