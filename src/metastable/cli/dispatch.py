"""Reads the command line, runs what it names, and turns errors into one sentence."""

from __future__ import annotations

import gc
import importlib
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import read_options, study_parser
from metastable.cli.listing import print_studies
from metastable.errors import InputError
from metastable.material.tables import is_table_file
from metastable.program import started_as, typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Options, Study
from metastable.study.own_options import check_options, options_of
from metastable.study.registry import SHIPPED, Registry, find_studies

__all__ = ["COMMANDS", "main", "version_text"]


@dataclass(frozen=True)
class Command:
    """One command beside the studies.

    Attributes
    ----------
    usage : str
        What is typed after the program's name.
    help : str
        What it does.
    module : str
        The module of `metastable.cli` whose ``run(registry, arguments, console)`` does it.
    """

    usage: str
    help: str
    module: str


COMMANDS: dict[str, Command] = {
    "list": Command("list", "show this table", "metastable.cli.listing"),
    "run": Command(
        "run FILE", "compare the texts of a table: csv, tsv, xlsx, jsonl or parquet", "metastable.cli.run_command"
    ),
    "new": Command("new NAME", "write a study file and its test to start from", "metastable.cli.new_command"),
    "freeze": Command("freeze STUDY", "record its claims and recipe before it is run", "metastable.cli.freeze_command"),
    "calibrate": Command(
        "calibrate STUDY",
        "run its tests where the truth is known: error rates and power",
        "metastable.cli.calibrate_command",
    ),
    "compare": Command(
        "compare A B", "two finished reports side by side: the same heads in both", "metastable.cli.compare_command"
    ),
    "sweep": Command(
        "sweep STUDY --k 500,1000",
        "run it at every combination of lists of options, corrected as one analysis",
        "metastable.cli.sweep_command",
    ),
}


def version_text() -> str:
    """Return the versions that a report of a problem needs; what they are of is not imported."""
    others = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"metastable {version('metastable')} ({others}, Python {platform.python_version()})"


def _run_study(study: Study, arguments: Sequence[str], console: Console) -> None:
    options = Options.of(read_options(study_parser(study).read(arguments), options_of(study)))
    check_options(study, options)
    # torch and transformers take seconds to import: only when something will be run
    from metastable.cli.closing import print_summary
    from metastable.runs.study import run_study

    # what was imported stays: no search for cycles needs to look at it again
    gc.freeze()
    console.print(f"[bold]{escape(study.title)}[/]")
    command = typed(study.name, *arguments)
    result = run_study(study, options, stages=RichStages(console), command=command)
    if result is not None:
        print_summary(result, console)


def _dispatch(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    if arguments and arguments[0] == "--version":
        console.print(version_text(), highlight=False, soft_wrap=True)
        return
    if not arguments or arguments[0] in {"list", "-h", "--help"}:
        if len(arguments) > 1:
            raise InputError(f"{arguments[0]} takes no further words, but {arguments[1]!r} was given; leave it out")
        print_studies(registry, console, {command.usage: command.help for command in COMMANDS.values()})
        return
    if arguments[0] in COMMANDS:
        # each command imports what it needs, so that a list does not wait for torch
        importlib.import_module(COMMANDS[arguments[0]].module).run(registry, arguments[1:], console)
        return
    if is_table_file(arguments[0]) and arguments[0] not in registry.studies:
        raise InputError(f"{arguments[0]} is a table: the study of its texts is run by {typed('run', *arguments)}")
    _run_study(registry.get(arguments[0], COMMANDS), arguments[1:], console)


def main(
    arguments: Sequence[str] | None = None,
    *,
    package: ModuleType | None = None,
    program: str = "python -m studies",
) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        The words after the program's name; None takes them from `sys.argv`.
    package : module or None
        The package of studies. A folder ``studies`` where the user stands adds its own.
    program : str
        The name that was typed to start the program, for what it says of itself.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # of the processes that torchrun starts, the first one speaks
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    # tokenizers would warn about forks that this program never makes
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with started_as(program):
            _dispatch(find_studies(package, Path(SHIPPED)), words, console)
    except InputError as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        return 2
    except KeyboardInterrupt:
        Console(stderr=True).print("[yellow]interrupted:[/] what was counted is kept; type the same command to go on")
        return 130
    return 0
