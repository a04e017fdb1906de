"""``metastable compare A B``: two finished reports side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.cli.written_places import print_places
from metastable.errors import InputError
from metastable.heads.comparison_options import ComparisonOptions
from metastable.material.tables import is_table_file
from metastable.program import typed
from metastable.study.entries import declared_options
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = declared_options(ComparisonOptions)


def _two(words: Sequence[str], out: str) -> tuple[str, str]:
    if len(words) != 2:
        given = f"{len(words)} were given: {', '.join(words)}" if words else "none was given"
        raise InputError(f"compare takes two reports, by name or folder, but {given} ({typed('compare', 'A', 'B')})")
    first, second = (_report_of(word, out) for word in words)
    return first, second


def _report_of(word: str, out: str) -> str:
    """Return the report that a word names; a file of texts stands for that of its run."""
    if not is_table_file(word):
        return word
    name = Path(word).stem
    if not Path(out, name, "run.json").is_file():
        raise InputError(
            f"there is no report of {word} in {out}; run it first: {typed('run', word, '--out', out)}, or name the "
            "folder of its report"
        )
    return name


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Read two reports and write their comparison."""
    parser = Parser(
        prog=typed("compare"),
        usage="%(prog)s REPORT REPORT [--OPTION VALUE ...]",
        description="Put the heads of two finished reports side by side; no model is run.",
        allow_abbrev=False,
    )
    parser.add_argument("reports", nargs="*", metavar="REPORT", help="a report's name below --out, or its folder")
    add_options(parser, OPTIONS, "options of the comparison")
    parsed, rest = parser.parse_known_intermixed_args(arguments)
    if unknown := [word for word in rest if word.startswith("-")]:
        parser.refuse(unknown)
    options = ComparisonOptions(**read_options(vars(parsed), OPTIONS))
    reports = _two([*parsed.reports, *rest], options.out)
    # pandas and matplotlib take a second to import: only when something will be read
    from metastable.report.comparison.sentences import verdict
    from metastable.runs.comparison import run_comparison

    result = run_comparison(reports, options, studies=tuple(registry.studies), command=typed("compare", *arguments))
    console.print(Panel(escape(" ".join(verdict(result.found))), title="verdict", title_align="left", expand=False))
    print_places(result.folder / "report.md", console)
