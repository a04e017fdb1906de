"""``metastable new NAME``: a study file and its test to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.cli.scaffold import write_study
from metastable.errors import InputError
from metastable.program import typed
from metastable.study.entries import declared_options, option
from metastable.study.options import existing_file
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "NewOptions", "run"]


@dataclass(frozen=True)
class NewOptions:
    """What was chosen for a new study; each field's entry says what it is."""

    csv: str | None = option(
        None,
        existing_file,
        "a file of texts that the study is to read, with columns condition and text",
        affects="nothing",
    )
    folder: str = option(".", str, "the folder that holds the folder studies, or receives one", affects="nothing")


OPTIONS = declared_options(NewOptions)


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Write the files and say what to type next."""
    # dispatch imports this module when it is asked for, so its table is there by now
    from metastable.cli.dispatch import COMMANDS

    parser = Parser(
        prog=typed("new"),
        usage="%(prog)s NAME [--OPTION VALUE ...]",
        description="Write studies/NAME.py and tests/studies/test_NAME.py, which run as they are. Nothing is replaced.",
        allow_abbrev=False,
    )
    add_options(parser, OPTIONS, "options")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in {"-h", "--help"}):
        raise InputError(f"new needs a name for the study: {typed('new', 'NAME')}")
    name, rest = (arguments[0], arguments[1:]) if not arguments[0].startswith("-") else ("", arguments)
    options = NewOptions(**read_options(parser.read(rest), OPTIONS))
    made = write_study(
        name,
        Path(options.folder),
        taken={*registry.studies, *registry.problems, *COMMANDS},
        csv=None if options.csv is None else Path(options.csv),
    )
    for path, what in ((made.study, "the study"), (made.test, "its test")):
        console.print(f"wrote [bold]{escape(str(path))}[/]: {what}", highlight=False, soft_wrap=True)
    for hint in registry.hints:
        console.print(f"[yellow]{escape(hint)}[/]", highlight=False, soft_wrap=True)
    there = "" if options.folder == "." else f" in {options.folder}"
    console.print(f"run it{escape(there)}: [bold]{escape(typed(name))}[/]", highlight=False, soft_wrap=True)
    console.print(f"test it: [bold]python -m pytest {escape(str(made.test))}[/]", highlight=False, soft_wrap=True)
