"""Which column of a table says what: found by its name, or named by an option."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from metastable.errors import InputError, did_you_mean
from metastable.material.covariates import LANGUAGE
from metastable.material.decimals import MISSING, is_numeric
from metastable.material.encodings import known_encoding
from metastable.material.tables import Table, column_key
from metastable.study import Option

__all__ = ["COLUMN_OPTIONS", "KNOWN_NAMES", "ROLES", "TABLE_OPTIONS", "Role", "could_be", "find_columns"]


@dataclass(frozen=True)
class Role:
    """What a column may say of each text.

    Attributes
    ----------
    name : str
        What it is called here, and the column name that is taken first.
    help : str
        What it says of the text.
    names : tuple of str
        Further column names that are taken for it, as `column_key` writes them.
    """

    name: str
    help: str
    names: tuple[str, ...] = ()

    @property
    def option(self) -> Option:
        """The option that names its column."""
        return Option(
            f"{self.name}_column",
            str,
            None,
            f"the column of {self.help} (none: found by its name; typed as the word none: no such column)",
            group="columns of the file",
            varies=False,
        )


ROLES = (
    Role("condition", "the condition that the text belongs to",
         ("conditions", "cond", "label", "group", "bedingung", "gruppe", "condicion", "condición", "grupo",
          "condizione", "gruppo", "conditie", "groep", "condição", "groupe", "условие")),
    Role("text", "the text",
         ("texts", "sentence", "stimulus", "premise", "sentence1", "sentence_1", "text_a", "texte", "texto", "testo",
          "satz", "phrase", "frase", "oración", "oracion", "zin", "tekst", "текст", "предложение")),
    Role("text_b", "the second text of a pair that is read together, as the model's second segment",
         ("textb", "second_text", "text2", "text_2", "sentence2", "sentence_2", "hypothesis")),
    Role("pair", "what joins a text with its partner in the other condition: the item",
         ("pairs", "pair_id", "item", "item_id", "items", "itemid", "paar", "paire")),
    Role("cluster", "what several texts are draws of: the subject, within or between conditions",
         ("clusters", "cluster_id", "subject", "subject_id", "subj", "participant", "participant_id", "speaker",
          "author", "writer", "proband", "versuchsperson", "vp", "sujet", "sujeto", "soggetto")),
    Role("context", "what texts of both conditions have in common: the carrier sentence, the frame, the clip",
         ("contexts", "carrier", "carrier_id", "frame", "sentence_frame", "clip", "scene", "kontext", "contexte",
          "contexto", "contesto")),
    Role("target", "the word or words of the text that the study is about (or mark them in the text as [[word]])",
         ("targets", "target_word", "target_a", "zielwort")),
    Role("target_b", "the same of the second text", ("target_word_b",)),
    Role("level", "the second factor, of two levels", ("levels", "factor", "second_factor")),
    Role("predictor", "the number that texts without conditions are rated by", ()),
)  # fmt: skip
"""Everything that a column can say, beside a covariate."""

KNOWN_NAMES = frozenset(name for role in ROLES for name in (role.name, *role.names))

COLUMN_OPTIONS = tuple(role.option for role in ROLES)
"""The options that name columns."""

_OF_FILE = "the file"
TABLE_OPTIONS: tuple[Option, ...] = (
    Option("a", str, None, "which condition is a (none: the one that occurs first); differences are a - b",
           group=_OF_FILE, varies=False),
    Option("b", str, None, "which condition is b (none: the other one); of more than two, --a and --b pick two",
           group=_OF_FILE, varies=False),
    Option("drop_incomplete", bool, False,
           "leave out rows with an empty cell and pairs without a partner, and count them", group=_OF_FILE),
    Option("encoding", known_encoding, None, "encoding of a text file (none: found out, and told where it is assumed)",
           group=_OF_FILE, varies=False),
    replace(LANGUAGE, group=_OF_FILE),
    *COLUMN_OPTIONS,
)  # fmt: skip
"""The options of whatever reads a table of texts."""

_CONDITIONLESS = ("rating", "ratings", "score", "frequency", "freq", "log_frequency", "zipf", "zipf_frequency")


def find_columns(table: Table, given: Mapping[str, str | None]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Find the column of each role.

    Parameters
    ----------
    table : Table
    given : mapping of str to str or None
        By role, the column that the user names; "none" for none, None where he names none.

    Returns
    -------
    columns : dict of str to str
        The column of each role that has one.
    notes : tuple of str
        Which columns of other names were taken for a role.

    Raises
    ------
    InputError
        If a column named is not there, or two may be meant.
    """
    columns: dict[str, str] = {}
    notes: list[str] = []
    by_key = {column_key(name): name for name in table.columns}
    for role in ROLES:
        named = given.get(role.name)
        if named is not None and (named in table.columns or column_key(named) in by_key):
            columns[role.name] = named if named in table.columns else by_key[column_key(named)]
        elif named is not None and named.lower() != "none":
            raise InputError(
                f"{role.option.flag} {named}: {table.source} has no such column; "
                f"{did_you_mean(named, table.columns)}its columns are: {', '.join(table.columns)}"
            )
    taken = set(columns.values())
    for role in ROLES:
        if given.get(role.name) is not None:
            continue
        found = by_key.get(role.name)
        if found is not None and found not in taken:
            columns[role.name] = found
            continue
        others = [by_key[key] for key in role.names if key in by_key and by_key[key] not in taken]
        if len(others) > 1:
            raise InputError(
                f"{table.source}: the columns {' and '.join(others)} may both be the {role.name}, {role.help}; say "
                f"which by {role.option.flag}"
            )
        if others:
            columns[role.name] = others[0]
            notes.append(f"the column {others[0]} was taken for the {role.name} ({role.option.flag} names another)")
        taken = set(columns.values())
    doubled = next((name for name in columns.values() if list(columns.values()).count(name) > 1), None)
    if doubled is not None:
        roles = [role for role, name in columns.items() if name == doubled]
        raise InputError(f"the column {doubled} is named as {' and as '.join(roles)}; a column says one thing")
    return _with_predictor(table, columns, given, notes), tuple(notes)


def _with_predictor(
    table: Table, columns: dict[str, str], given: Mapping[str, str | None], notes: list[str]
) -> dict[str, str]:
    """Where texts have no conditions, find what they are rated by; where they have, a predictor is a covariate."""
    if "text" not in columns:
        return columns
    if "condition" in columns:
        if given.get("predictor") not in (None, "none"):
            raise InputError(
                f"--predictor-column {given['predictor']}: {table.source} has a column of conditions too, "
                f"{columns['condition']}; add --condition-column none to test the slope over the predictor, or leave "
                "the predictor to the covariates"
            )
        columns.pop("predictor", None)
        return columns
    if "predictor" in columns or given.get("predictor") is not None:
        return columns
    numeric = [name for name in table.columns if name not in columns.values() and is_numeric(table.cells(name))]
    likely = [name for name in numeric if column_key(name) in _CONDITIONLESS] or numeric
    if len(likely) == 1:
        columns["predictor"] = likely[0]
        notes.append(
            f"there is no column of conditions, and {likely[0]} was taken for the predictor (--predictor-column names "
            "another)"
        )
    elif likely:
        raise InputError(
            f"{table.source} has no column of conditions, and its texts may be rated by {' or '.join(likely)}; say "
            "which by --predictor-column, or name the column of conditions by --condition-column"
        )
    return columns


def could_be(table: Table, column: str, conditions: Iterable[str] | None) -> str:
    """Say what a column that is not used could be, with the option that would name it.

    Parameters
    ----------
    table : Table
    column : str
        Its name.
    conditions : iterable of str or None
        The condition of each row of the table; None where texts have none.

    Returns
    -------
    str
        Empty if nothing.
    """
    cells = table.cells(column)
    numeric = is_numeric(cells)
    told = [cell for cell in cells if cell and not (numeric and cell.lower() in MISSING)]
    values = set(told)
    if not told or len(values) == 1:
        return ""
    empty = len(cells) - len(told)
    if empty:
        if numeric:
            return (
                f"{empty:,} cells hold no number; fill them in, or leave these rows out by --drop-incomplete, and it "
                "is a covariate"
            )
        return f"{empty:,} cells are empty"
    if len(values) == 2:
        return "it could be --level-column or --condition-column"
    if sum(len(cell.split()) > 2 for cell in told) > len(told) / 2:
        return "it could be --text-b-column"
    if conditions is not None and len(values) < len(told):
        sides: dict[str, set[str]] = {}
        for cell, condition in zip(cells, conditions, strict=True):
            sides.setdefault(cell, set()).add(condition)
        both = sum(len(side) > 1 for side in sides.values())
        if both == len(sides):
            return (
                "it could be --pair-column, --cluster-column or --context-column: each value has texts of several "
                "conditions"
            )
        return "it could be --cluster-column"
    return "it could be --cluster-column" if len(values) < len(told) else ""


def names_of(given: Mapping[str, object]) -> dict[str, str | None]:
    """Return what options named, by role."""
    return {role.name: _text(given.get(role.option.name)) for role in ROLES}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def header_names(given: Mapping[str, str | None]) -> Collection[str]:
    """Return the names that a header may have, in small letters: those of roles, and those that are named."""
    return {*KNOWN_NAMES, *(name.lower() for name in given.values() if name is not None)}
