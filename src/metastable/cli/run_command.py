"""``metastable run FILE``: a study of a table of texts, without any code."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_common_options, read_options
from metastable.cli.opened_table import open_table, tell_columns
from metastable.cli.written_places import print_places
from metastable.errors import InputError
from metastable.material.table_study import FILE_OPTIONS, TableFile, study_of, wanted_file
from metastable.material.texts import MAX_LENGTH
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Options, Study
from metastable.study.options import COMMON_OPTIONS
from metastable.study.own_options import check_options, options_of
from metastable.study.registry import Registry

__all__ = ["run"]


def _parser() -> Parser:
    parser = Parser(
        prog=typed("run"),
        usage="%(prog)s FILE [--OPTION VALUE ...]",
        description="Compare the texts of a table: a row for each, with its condition, or with a number that it is "
        "rated by. Columns are found by their names, or named by options; further columns of numbers are covariates. "
        "More than two conditions are compared all at once and pair by pair.",
        allow_abbrev=False,
    )
    add_common_options(parser, (*FILE_OPTIONS, MAX_LENGTH))
    add_common_options(parser, COMMON_OPTIONS)
    return parser


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Read the file, make a study of it, and run it."""
    parser = _parser()
    if arguments and arguments[0] in {"-h", "--help"}:
        parser.read(arguments)
    file = open_table(arguments, tuple(registry.studies))
    if file is None:
        word = f", and {arguments[0]!r} is none" if arguments and not arguments[0].startswith("-") else ""
        raise InputError(
            f"run needs a file of texts, {wanted_file()}{word}: {typed('run', 'FILE')}; a study is run by its name "
            f"alone: {typed('STUDY')}"
        )
    given = parser.read(arguments if arguments[0].startswith("-") else arguments[1:])
    tell_columns(file, console)
    command = typed("run", *arguments)
    if file.has_several:
        _run_several(file, given, tuple(registry.studies), console, command)
        return
    study = study_of(file)
    options = Options.of({**read_options(given, options_of(study)), **file.values})
    check_options(study, options)
    # torch and transformers take seconds to import: only when something will be run
    from metastable.cli.closing import print_summary
    from metastable.runs.study import run_study

    console.print(f"[bold]{escape(study.title)}[/]")
    result = run_study(study, options, stages=RichStages(console), command=command)
    if result is not None:
        print_summary(result, console)


def _run_several(
    file: TableFile, given: dict[str, object], taken: tuple[str, ...], console: Console, command: str
) -> None:
    """Compare more than two conditions."""
    values = {**read_options(given, (MAX_LENGTH, *COMMON_OPTIONS)), **file.values}
    from metastable.runs.conditions import run_conditions

    def study(a: str, b: str, name: str) -> Study:
        return study_of(file, a=a, b=b, name=name)

    found = run_conditions(
        file.texts.conditions,
        study,
        Options.of(values),
        name=file.name,
        taken=taken,
        stages=RichStages(console),
        command=command,
    )
    if found is None:
        return
    for sentence in found.sentences:
        console.print(escape(sentence), highlight=False)
    print_places(found.folder / "report.md", console)
