"""``python -m studies calibrate STUDY``: the tests where the truth is known."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_options, read_options
from metastable.cli.progress_bars import RichStages
from metastable.errors import InputError
from metastable.heads.calibration_options import calibration_options, chosen_options, inherited_options
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = calibration_options()


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
    inherited = inherited_options(study)
    own = {entry.name for entry in study.options}
    add_options(parser, OPTIONS, "options of the calibration")
    add_options(parser, (entry for entry in inherited if entry.name in own), "options of the study")
    add_options(parser, (entry for entry in inherited if entry.name not in own), "options of every study")
    given = {name: text for name, text in vars(parser.parse_args(arguments[1:])).items() if text not in (None, False)}
    typed = read_options(given, (entry for entry in (*OPTIONS, *inherited) if entry.name in given))
    from metastable.runs.calibration import calibrate_study, recorded_options

    options = chosen_options(study, typed, None)
    options = chosen_options(study, typed, recorded_options(Path(options.out) / study.name))
    console.print(f"[bold]Calibration of {escape(study.name)}[/]")
    command = shlex.join(["python", "-m", "studies", "calibrate", *arguments])
    found = calibrate_study(study, options, stages=RichStages(console), command=command)
    if found is None:
        return
    path = found.folder / "calibration.md"
    console.print(f"calibration: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
