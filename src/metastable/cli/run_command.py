"""``metastable run --csv FILE``: a study of two columns, condition and text, without any code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_common_options, add_options, read_options
from metastable.errors import InputError
from metastable.material.texts import MAX_LENGTH, read_texts, text_study
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Options
from metastable.study.entries import declared_options, option
from metastable.study.options import COMMON_OPTIONS, existing_file
from metastable.study.own_options import check_options
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "FileOptions", "run"]


@dataclass(frozen=True)
class FileOptions:
    """What was chosen of a file of texts; each field's entry says what it is."""

    csv: str | None = option(
        None,
        existing_file,
        "csv, tsv or xlsx file with columns condition and text, and cluster, pair or context if you like",
    )
    a: str | None = option(None, str, "which condition is a (none: the one that occurs first); differences are a - b")
    name: str | None = option(None, str, "name of the report's folder (none: the file's)", affects="nothing")


OPTIONS = declared_options(FileOptions)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")


def _name(given: str | None, path: Path, registry: Registry) -> str:
    name = path.stem if given is None else given
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a folder; give --name with letters, digits, dashes and underscores, at most 60"
        )
    if name in registry.studies:
        raise InputError(f"{name!r} is the name of a study, whose report would be lost; give another by --name")
    return name


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Read the file, make a study of it, and run it."""
    parser = Parser(
        prog=typed("run"),
        usage="%(prog)s --csv FILE [--OPTION VALUE ...]",
        description="Compare two sets of texts that a file holds: one row per text, with its condition.",
        allow_abbrev=False,
    )
    add_options(parser, (*OPTIONS, MAX_LENGTH), "the file")
    add_common_options(parser, COMMON_OPTIONS)
    given = parser.read(arguments)
    file = FileOptions(**read_options(given, OPTIONS))
    if file.csv is None:
        raise InputError(
            f"run needs a file of texts: {typed('run', '--csv', 'FILE')}; a study is run by its name alone: "
            f"{typed('STUDY')}"
        )
    path = Path(file.csv)
    table = read_texts(path)
    study = text_study(table, name=_name(file.name, path, registry), a=file.a)
    options = Options.of({**asdict(file), **read_options(given, (MAX_LENGTH, *COMMON_OPTIONS))})
    check_options(study, options)
    # torch and transformers take seconds to import: only when something will be run
    from metastable.cli.closing import print_summary
    from metastable.runs.study import run_study

    console.print(f"[bold]{escape(study.title)}[/]")
    command = typed("run", *arguments)
    result = run_study(study, options, stages=RichStages(console), command=command)
    if result is not None:
        print_summary(result, console)
