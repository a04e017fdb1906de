"""``metastable calibrate STUDY``: the tests where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import (
    Parser,
    add_common_options,
    add_options,
    named_study,
    read_options,
)
from metastable.cli.progress_bars import RichStages
from metastable.program import typed
from metastable.study import Option, Study
from metastable.study.options import COMMON_OPTIONS, check_options, fraction, natural, options_of, positive
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = (
    Option("side", str, "a", "the condition that is divided: the first (a) or the second (b)", choices=("a", "b")),
    Option("splits", natural, 200, "how many random divisions"),
    Option("shift", positive, 0.5, "the planted shift, in standard deviations over units"),
    Option("share", fraction, 0.1, "share of the heads in which it is planted"),
)


def _parser(study: Study | None) -> Parser:
    """Make the parser for a study; for none it shows what every study has."""
    parser = Parser(
        prog=typed("calibrate", "STUDY" if study is None else study.name),
        usage="%(prog)s [--OPTION VALUE ...]",
        description="Run all tests on random halves of one condition, without and with a planted shift.",
        allow_abbrev=False,
    )
    add_options(parser, OPTIONS, "options of the calibration")
    if study is not None:
        add_options(parser, study.options, "options of this study")
    add_common_options(parser, _common(study))
    return parser


def _common(study: Study | None) -> tuple[Option, ...]:
    # thousands of tests want fewer relabelings each, but enough for a lone head of hundreds to pass a correction
    every = COMMON_OPTIONS if study is None else tuple(one for one in options_of(study) if one not in study.options)
    return tuple(replace(option, default=5000) if option.name == "permutations" else option for option in every)


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Calibrate the study that is named first."""
    study = named_study(registry, arguments, _parser, f"calibrate needs a study: {typed('calibrate', 'STUDY')}")
    given = _parser(study).read(arguments[1:])
    options = read_options(given, (*OPTIONS, *study.options, *_common(study)))
    check_options(study, options)
    from metastable.runs.calibration import recorded_options, run_calibration

    # what is not given is as in the study's last run, so that its counts serve
    for name, value in recorded_options(Path(options["out"]) / study.name).items():
        if name in given and not given[name] and name not in {"permutations", "out"}:
            options[name] = value
    console.print(f"[bold]Calibration of {escape(study.name)}[/]")
    command = typed("calibrate", *arguments)
    found = run_calibration(study, options, stages=RichStages(console), command=command)
    if found is None:
        return
    path = found.folder / "calibration.md"
    console.print(f"calibration: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
