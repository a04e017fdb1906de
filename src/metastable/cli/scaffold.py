"""A new study: a short file to start from, and its test, which both run as they are."""

from __future__ import annotations

import json
import keyword
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from string import Template

from metastable.errors import InputError
from metastable.files import require_writable, write_text
from metastable.material.texts import read_texts
from metastable.program import typed

__all__ = ["NewStudy", "check_name", "write_study"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")

_OF_WORDS = Template('''\
"""Animals against feelings: an example, to be replaced by what your study compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.material.word_lists import word_sequences
from metastable.study import Claim, Condition, Material, Option, Options, Sequence, Study
from metastable.study.options import natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]

# The words of each condition, by its name. Where there are many, read them from a file
# (metastable.material.spreadsheets.read_rows) or take them from word ratings (metastable.material.norms.load_norms).
WORDS = {
    "animals": """
        ant bear bee bird camel cat cow crab crow deer dog dolphin donkey duck eagle elephant fish fly fox frog goat
        goose hen horse lamb lion lizard monkey moth mouse otter owl ox parrot pig pigeon rabbit rat seal shark sheep
        snail snake spider swan tiger toad turtle whale wolf worm zebra
    """,
    "feelings": """
        anger anxiety awe boredom calm comfort contempt courage delight despair disgust doubt dread envy fear fury
        gloom gratitude grief guilt happiness hate hope horror humor interest jealousy joy longing love mercy misery
        nostalgia pain panic passion peace pity pleasure pride rage regret relief sadness shame shock sorrow surprise
        sympathy terror trust worry
    """,
}


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Shuffle the words of each condition and pack them into sequences."""
    rng = np.random.default_rng(options.seed)
    sequences: list[Sequence] = []
    notes: list[str] = []
    for condition in STUDY.conditions:
        words = WORDS[condition.name].split()
        shuffled = [words[index] for index in rng.permutation(len(words))]
        packed, told = word_sequences(shuffled, condition.name, tokenizer, options.own["max_length"])
        sequences.extend(packed)
        notes.extend(told)
    return Material(tuple(sequences), tuple(notes), of_words=True)


STUDY = Study(
    name="$name",
    title="Names of animals and of feelings",
    question="Do attention heads spread wider over animals or over feelings?",
    # a, then b: every difference is a - b
    conditions=(
        Condition("animals", "sequences of names of animals"),
        Condition("feelings", "sequences of names of feelings"),
    ),
    build=build,
    # each is an option on the command line: --max-length
    options=(Option("max_length", natural, 9, "most tokens of a sequence, special ones included"),),
    # what you say before the run; the report judges it, and calls all else exploration
    claims=(Claim(statement="some heads differ between animals and feelings, in either direction"),),
    # what the comparison cannot show, in plain words; the report opens with it
    caveat="the words are few, and the two lists are matched in nothing but their number.",
)
''')

_OF_TEXTS = Template('''\
"""Texts of a file: two conditions, compared head by head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metastable.material.texts import MAX_LENGTH, read_texts, text_material
from metastable.study import Claim, Condition, Design, Material, Options, Study

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]

FILE = $path


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Make one sequence of each row of the file."""
    return text_material(read_texts(FILE), tokenizer, options.own["max_length"])


STUDY = Study(
    name="$name",
    title=$title,
    question=$question,
    # a, then b: every difference is a - b
    conditions=(
        Condition($first_name, $first_text),
        Condition($second_name, $second_text),
    ),
    build=build,
    # what is one observation: a pair or a cluster of texts, by the file's column of that name, or else each text
    design=Design(paired=$paired, clustered=$clustered),
    options=(MAX_LENGTH,),
    # what you say before the run; the report judges it, and calls all else exploration
    claims=(Claim(statement=$claim),),
    # what the comparison cannot show, in plain words; the report opens with it
    caveat="the texts are matched in nothing that the study's author has stated.",
)
''')

_TEST = Template('''\
"""The study $name with the bundled encoder."""

from pathlib import Path

import pandas as pd

from metastable.cli import main
from metastable.models.encoders import load_tokenizer
from metastable.study.own_options import options_for
from metastable.study.registry import load_study

PROJECT = Path(__file__).parents[2]
STUDY = load_study(PROJECT / "studies" / "$name.py")
TOKENIZER = load_tokenizer()
OPTIONS = options_for(STUDY)


def test_the_sequences_are_of_both_conditions_and_read_as_they_were_made():
    sequences = STUDY.build(OPTIONS, TOKENIZER).sequences
    assert {sequence.condition for sequence in sequences} == {condition.name for condition in STUDY.conditions}
    assert len({sequence.identifier for sequence in sequences}) == len(sequences)
    for sequence in sequences:
        assert TOKENIZER.encode(sequence.text).token_ids == sequence.token_ids
        assert len(sequence.token_ids) <= (OPTIONS.own["max_length"] or TOKENIZER.max_length)


def test_the_same_options_give_the_same_sequences():
    assert STUDY.build(OPTIONS, TOKENIZER) == STUDY.build(OPTIONS, TOKENIZER)


def test_it_runs_and_tests_every_head(tmp_path, monkeypatch):
    # where the command finds the folder of studies
    monkeypatch.chdir(PROJECT)
    assert main([STUDY.name, "--permutations", "100", "--out", str(tmp_path)]) == 0
    tables = pd.read_csv(tmp_path / STUDY.name / "heads.csv")
    heads = tables[tables["measure"] == STUDY.measure]
    assert len(heads) == 6 * 12
    assert heads["p_perm"].between(0, 1).all()
    assert STUDY.question in (tmp_path / STUDY.name / "report.md").read_text(encoding="utf-8")
''')


@dataclass(frozen=True)
class NewStudy:
    """What was written.

    Attributes
    ----------
    study, test : Path
        The study's file and its test's.
    """

    study: Path
    test: Path


def check_name(name: str, taken: Collection[str]) -> None:
    """Refuse a name that cannot be a study's.

    Parameters
    ----------
    name : str
        As it was typed.
    taken : collection of str
        Names of studies and commands that there are.

    Raises
    ------
    InputError
        Saying what is wrong and what would do.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InputError(
            f"{name!r} cannot name a study; give small letters, digits and underscores, a letter first, at most 50, "
            "and no word of Python's own"
        )
    if name in taken:
        raise InputError(f"{name!r} is the name of a study or command that there is; give another")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _path_code(csv: Path, project: Path) -> str:
    """Write the way from the study's file to the texts, which holds wherever the user stands and the project goes."""
    try:
        way = Path(os.path.relpath(csv.resolve(), project.resolve()))
    except ValueError:
        raise InputError(f"{csv} lies on another drive than {project.resolve()}; copy it there") from None
    return f"Path(__file__).parents[1].joinpath({', '.join(map(_quoted, way.parts))})"


def _text_of_csv(name: str, csv: Path, project: Path) -> str:
    table = read_texts(csv)
    if table.design.factor is not None or table.predictor or len(table.rows[0].words_b) or table.rows[0].target:
        raise InputError(
            f"{csv.name} has a second factor, a predictor, a second text or targets, which a study file that is "
            f"written for you does not hold; {typed('run', str(csv))} takes them, and text_study(read_texts(...)) "
            "makes a study of them"
        )
    first, second = table.conditions
    return _OF_TEXTS.substitute(
        name=name,
        path=_path_code(csv, project),
        title=_quoted(f"{first} and {second} texts"),
        question=_quoted(f"Do attention heads spread differently over {first} and over {second} texts?"),
        first_name=_quoted(first),
        first_text=_quoted(f"texts marked {first}"),
        second_name=_quoted(second),
        second_text=_quoted(f"texts marked {second}"),
        paired=table.design.paired,
        clustered=table.design.clustered,
        claim=_quoted(f"some heads differ between {first} and {second} texts, in either direction"),
    )


def write_study(name: str, project: Path, *, taken: Collection[str] = (), csv: Path | None = None) -> NewStudy:
    """Write a study's file and its test.

    Parameters
    ----------
    name : str
        The study's name.
    project : Path
        The folder that holds the folder ``studies``, which is made where it is missing.
    taken : collection of str
        Names that are in use.
    csv : Path or None
        A file of texts that the study is to read; None for an example with words in it.

    Returns
    -------
    NewStudy

    Raises
    ------
    InputError
        If the name will not do, a file is there already, or the texts cannot be read. Nothing is written then.
    """
    check_name(name, taken)
    made = NewStudy(project / "studies" / f"{name}.py", project / "tests" / "studies" / f"test_{name}.py")
    for path in (made.study, made.test):
        if path.exists():
            raise InputError(f"{path} is there already, and is left as it is; give another name")
    text = _OF_WORDS.substitute(name=name) if csv is None else _text_of_csv(name, csv, project)
    for path in (made.study, made.test):
        require_writable(path.parent, "another folder")
    write_text(made.study, text)
    write_text(made.test, _TEST.substitute(name=name))
    return made
