"""``metastable answer``: the page of all reports, with what they say about the founding question, written anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.errors import InputError
from metastable.program import typed
from metastable.study.entries import declared_options, option
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "AnswerOptions", "run"]


@dataclass(frozen=True)
class AnswerOptions:
    """What was chosen for the page; its field's entry says what it is."""

    out: str = option("reports", str, "folder that holds the reports", affects="nothing", group="the reports")


OPTIONS = declared_options(AnswerOptions)


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Write README.md over the reports of a folder."""
    parser = Parser(
        prog=typed("answer"),
        usage="%(prog)s [--out FOLDER]",
        description="Write the page of all reports anew, which opens with what they say about the founding question.",
        allow_abbrev=False,
    )
    add_options(parser, OPTIONS, "the reports")
    options = AnswerOptions(**read_options(parser.read(arguments), OPTIONS))
    folder = Path(options.out)
    if not any(folder.glob("*/run.json")):
        first = next(iter(registry.studies), "STUDY")
        raise InputError(f"{folder} holds no report; run a study first: {typed(first)}, or give another --out")
    # pandas takes a second to import: only when something will be read
    from metastable.report.index import write_index

    def say(sentence: str) -> None:
        console.print(escape(sentence), highlight=False, soft_wrap=True)

    path = write_index(folder, say)
    console.print(f"answer: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
