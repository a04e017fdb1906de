"""Reads the command line, runs what it names, and turns errors into one sentence."""

from __future__ import annotations

import errno
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
from metastable.cli.encoding import speak_in_any_encoding
from metastable.cli.listing import print_studies
from metastable.errors import InputError, one_line
from metastable.material.tables import is_table_file
from metastable.program import started_as, typed
from metastable.runs.progress_bars import RichStages
from metastable.stopping import INTERRUPTED, asked_to_stop, listening
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
    "plan": Command(
        "plan STUDY --effect 0.3",
        "how many texts, pairs or items find an effect, by formula or from a pilot",
        "metastable.cli.plan_command",
    ),
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
    "models": Command(
        "models STUDY --model A B",
        "run it on many models: what holds over them, and in untrained networks",
        "metastable.cli.models_command",
    ),
    "answer": Command(
        "answer", "what the reports say about the founding question, written anew", "metastable.cli.answer_command"
    ),
}


def version_text() -> str:
    """Return the versions that a report of a problem needs; what they are of is not imported."""
    others = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"metastable {version('metastable')} ({others}, Python {platform.python_version()})"


def _run_study(study: Study, arguments: Sequence[str], console: Console) -> None:
    options = Options.of(read_options(study_parser(study).read(arguments), options_of(study)))
    check_options(study, options)
    # wordfreq searches all modules that are loaded when it is imported: behind torch it takes three times as long
    import wordfreq  # noqa: F401

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
        Exit code: 0 done, 2 bad input, 130 interrupted (by Ctrl-C, SIGTERM or SIGUSR1).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    speak_in_any_encoding(sys.stdout, sys.stderr)
    # of the processes that torchrun starts, the first one speaks
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    # tokenizers would warn about forks that this program never makes
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with started_as(program), listening():
        try:
            _dispatch(find_studies(package, Path(SHIPPED)), words, console)
        except InputError as error:
            _complain(str(error))
            return 2
        except KeyboardInterrupt:
            return _interrupted(words)
        except Exception as error:
            # an interruption comes out of compiled code, or of half an import, as another error
            if asked_to_stop():
                return _interrupted(words)
            if not isinstance(error, OSError) or error.errno is None:
                raise
            # what the machine refuses is no fault of the program, and its trace would say nothing more
            _complain(_refused(error))
            return 2
    return 0


def _complain(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(
        f"[red]error:[/] {escape(one_line(sentence, _LONGEST))}", highlight=False
    )


def _interrupted(words: Sequence[str]) -> int:
    Console(stderr=True, soft_wrap=True).print(
        f"[yellow]interrupted:[/] what was counted is kept; type the same command to go on: {escape(typed(*words))}",
        highlight=False,
    )
    return INTERRUPTED


_SHOWN, _LONGEST = 120, 2000
_REMEDIES = {
    errno.ENOSPC: "make room, and type the same command again, which goes on from what was counted",
    errno.EDQUOT: "make room, and type the same command again, which goes on from what was counted",
    errno.ENAMETOOLONG: "give a shorter path",
}


def _refused(error: OSError) -> str:
    """Say what the machine refused, of which file, and what to do."""
    named = "" if error.filename is None else str(error.filename)
    shown = named if len(named) <= _SHOWN else f"{named[:_SHOWN]}…"
    remedy = _REMEDIES.get(error.errno or 0, "see that it can be read and written, and type the same command again")
    return f"{shown}{': ' if shown else ''}{error.strerror}; {remedy}"
