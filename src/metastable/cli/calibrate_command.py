"""``python -m studies calibrate STUDY``: the tests where the truth is known."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.cli.progress_bars import RichStages
from metastable.errors import InputError
from metastable.study import Option
from metastable.study.options import fraction, natural, options_of, positive
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = (
    Option("side", str, "a", "the condition that is divided: the first (a) or the second (b)", choices=("a", "b")),
    Option("splits", natural, 200, "how many random divisions"),
    Option("shift", positive, 0.5, "the planted shift, in standard deviations over units"),
    Option("share", fraction, 0.1, "share of the heads in which it is planted"),
)


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Calibrate the study that is named first."""
    if not arguments or arguments[0].startswith("-"):
        raise InputError("calibrate needs a study: python -m studies calibrate STUDY (python -m studies list)")
    study = registry.get(arguments[0])
    parser = Parser(
        prog=f"python -m studies calibrate {study.name}",
        description="Run all tests on random halves of one condition, without and with a planted shift.",
        allow_abbrev=False,
    )
    # thousands of tests want fewer relabelings each, but enough for a lone head of hundreds to pass a correction
    common = tuple(
        replace(o, default=5000) if o.name == "permutations" else o for o in options_of(study) if o not in study.options
    )
    add_options(parser, OPTIONS, "options of the calibration")
    add_options(parser, study.options, "options of the study")
    add_options(parser, common, "options of every study")
    given = vars(parser.parse_args(arguments[1:]))
    options = read_options(given, (*OPTIONS, *study.options, *common))
    from metastable.runs.calibration import recorded_options, run_calibration

    # what is not given is as in the study's last run, so that its counts serve
    for name, value in recorded_options(Path(options["out"]) / study.name).items():
        if name in given and not given[name] and name not in {"permutations", "out"}:
            options[name] = value
    console.print(f"[bold]Calibration of {escape(study.name)}[/]")
    command = shlex.join(["python", "-m", "studies", "calibrate", *arguments])
    found = run_calibration(study, options, stages=RichStages(console), command=command)
    if found is None:
        return
    path = found.folder / "calibration.md"
    console.print(f"calibration: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
