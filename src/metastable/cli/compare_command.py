"""``python -m studies compare A B``: two finished reports side by side."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.errors import InputError
from metastable.heads.comparison_options import ComparisonOptions
from metastable.heads.record import record_kind
from metastable.study.entries import declared_options
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = declared_options(ComparisonOptions)

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")


def _two(words: Sequence[str]) -> tuple[str, str]:
    if len(words) != 2:
        given = f"{len(words)} were given: {', '.join(words)}" if words else "none was given"
        raise InputError(f"compare takes two reports, by name or folder, but {given} (python -m studies compare A B)")
    return words[0], words[1]


def _folder(given: str | None, folders: tuple[str, str], names: tuple[str, str], out: Path, registry: Registry) -> Path:
    if given is None:
        # reports of one study are told apart by what else they are called
        parts = folders if folders[0] != folders[1] else (folders[0], *names)
        given = re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(("compare", *parts)))
    if not _PLAIN.fullmatch(given):
        raise InputError(f"{given!r} cannot name a folder; give --name with letters, digits, dashes and underscores")
    record = out / given / "run.json"
    taken = given in registry.studies
    if record.is_file():
        taken |= record_kind(record) != "comparison"
    if taken:
        raise InputError(f"{out / given} is the folder of a study, whose report would be lost; give another --name")
    return out / given


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
    options = ComparisonOptions(**read_options(vars(parsed), OPTIONS))
    first, second = _two([*parsed.reports, *rest])
    # pandas and matplotlib take a second to import: only when something will be read
    from metastable.files import require_writable
    from metastable.heads.compared_heads import compare_reports
    from metastable.heads.finished_report import find_report, read_report
    from metastable.report.comparison.page import write_comparison
    from metastable.report.comparison.sentences import comparison_verdict
    from metastable.report.index import write_index

    out = Path(options.out)
    folders = [find_report(given, out, tuple(registry.studies)) for given in (first, second)]
    found = compare_reports(
        *(read_report(folder) for folder in folders),
        threshold=options.threshold or None,
        n_permutations=options.permutations,
        alpha=options.alpha,
        seed=options.seed,
    )
    names = (folders[0].resolve().name, folders[1].resolve().name)
    folder = _folder(options.name, names, found.names, out, registry)
    require_writable(folder, "--out")
    write_comparison(found, folder, options, shlex.join(["python", "-m", "studies", "compare", *arguments]))
    write_index(out)
    console.print(
        Panel(
            escape(" ".join(comparison_verdict(found, options.alpha))),
            title="verdict",
            title_align="left",
            expand=False,
        )
    )
    console.print(f"report: [bold]{escape(str(folder / 'report.md'))}[/]", highlight=False, soft_wrap=True)
