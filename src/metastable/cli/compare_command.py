"""``python -m studies compare A B``: two finished reports side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.errors import InputError
from metastable.study import Option
from metastable.study.options import COMMON_OPTIONS, fraction, natural
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

_COMMON = {option.name: option for option in COMMON_OPTIONS}

OPTIONS = (
    Option("name", str, None, "name of the comparison's folder (none: compare_A_B)"),
    Option("threshold", fraction, (), "thresholds to compare, the first is primary (none: all that both reports have)",
           many=True),
    Option("permutations", natural, 10_000, "permutations of heads for the p of the correlation"),
    _COMMON["alpha"],
    _COMMON["seed"],
    Option("out", str, "reports", "folder that holds the reports and receives the comparison's"),
)  # fmt: skip


def _two(words: Sequence[str]) -> tuple[str, str]:
    if len(words) != 2:
        given = f"{len(words)} were given: {', '.join(words)}" if words else "none was given"
        raise InputError(f"compare takes two reports, by name or folder, but {given} (python -m studies compare A B)")
    return words[0], words[1]


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Read two reports and write their comparison."""
    parser = Parser(
        prog="python -m studies compare",
        description="Put the heads of two finished reports side by side; no model is run.",
        allow_abbrev=False,
    )
    parser.add_argument("reports", nargs="*", metavar="REPORT", help="a report's name below --out, or its folder")
    add_options(parser, OPTIONS, "options of the comparison")
    parsed, rest = parser.parse_known_intermixed_args(arguments)
    if unknown := [word for word in rest if word.startswith("-")]:
        parser.error(f"unrecognized arguments: {unknown[0]}")
    options = read_options(vars(parsed), OPTIONS)
    reports = _two([*parsed.reports, *rest])
    # pandas and matplotlib take a second to import: only when something will be read
    from metastable.report.comparison.sentences import verdict
    from metastable.runs.comparison import run_comparison

    command = shlex.join(["python", "-m", "studies", "compare", *arguments])
    result = run_comparison(reports, options, studies=tuple(registry.studies), command=command)
    console.print(Panel(escape(" ".join(verdict(result.found))), title="verdict", title_align="left", expand=False))
    path = result.folder / "report.md"
    console.print(f"report: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
