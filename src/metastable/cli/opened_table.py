"""A file of texts in the place of a study's name, on the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.errors import InputError
from metastable.material.table_study import FILE_OPTIONS, TableFile, as_recorded, read_file, study_name, study_of
from metastable.material.tables import is_table_file
from metastable.material.texts import table_texts
from metastable.study import Options, Study

__all__ = ["open_table", "study_of_words", "tell_columns"]


def open_table(
    words: Sequence[str],
    taken: Collection[str],
    recorded: Callable[[Path], Options | None] | None = None,
) -> TableFile | None:
    """Open the file that a command's first word, or ``--csv``, names.

    Parameters
    ----------
    words : sequence of str
        What follows the command's name.
    taken : collection of str
        Names of the studies.
    recorded : callable or None
        ``recorded(folder)`` gives the options of a finished run of the same file, where what its columns say is taken
        from that unless it is given anew.

    Returns
    -------
    TableFile or None
        None where the words name no file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if not words or not (is_table_file(words[0]) or any(word.partition("=")[0] == "--csv" for word in words)):
        return None
    parser = Parser(allow_abbrev=False, add_help=False)
    add_options(parser, FILE_OPTIONS, "the file")
    parser.add_argument("--out", default=None)
    first = is_table_file(words[0])
    given, _ = parser.parse_known_args(words[1:] if first else words)
    if first and given.csv is not None:
        raise InputError(f"two files are given, {words[0]} and --csv {given.csv}; give one")
    if first:
        given.csv = words[0]
        if not Path(words[0]).is_file():
            raise InputError(f"{words[0]}: there is no such file; give the path of one")
    values = read_options(vars(given), FILE_OPTIONS)
    name = study_name(values["name"], values["csv"], taken)
    if recorded is not None:
        values = as_recorded(values, vars(given), recorded(Path(given.out or Options.out) / name))
    return TableFile(table_texts(read_file(values), values), name, values)


def study_of_words(
    words: Sequence[str],
    *,
    taken: Collection[str],
    console: Console,
    recorded: Callable[[Path], Options | None] | None = None,
) -> Study | None:
    """Make a study of the file of texts that a command's words begin with, and tell how it was read.

    Parameters
    ----------
    words : sequence of str
        What follows the command's name.
    taken : collection of str
        Names of the studies.
    console : rich.console.Console
    recorded : callable or None
        As `open_table` takes it.

    Returns
    -------
    Study or None
        None where the words name no file.

    Raises
    ------
    InputError
        If the file cannot be read, or holds more than two conditions of which two are not picked.
    """
    file = open_table(words, taken, recorded)
    if file is None:
        return None
    tell_columns(file, console)
    return study_of(file)


def tell_columns(file: TableFile, console: Console) -> None:
    """Say at the top how the columns were read, and which were not."""
    roles = ", ".join(f"{role} from {name}" if role != name else role for role, name in file.texts.columns.items())
    covariates = f"; covariates: {', '.join(file.texts.covariates)}" if file.texts.covariates else ""
    console.print(f"columns: {escape(roles)}{escape(covariates)}", highlight=False, soft_wrap=True)
    for text in file.texts.notes:
        console.print(f"[yellow]note:[/] {escape(text)}", highlight=False, soft_wrap=True)
    for text in file.texts.warnings:
        console.print(f"[bold yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True)
