"""``metastable calibrate STUDY``: the tests where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
from metastable.cli.opened_table import study_of_words
from metastable.cli.written_places import print_places
from metastable.heads.calibration_options import (
    CalibrationOptions,
    calibration_options,
    chosen_options,
    inherited_options,
)
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Option, Study
from metastable.study.options import COMMON_OPTIONS
from metastable.study.own_options import check_options
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = calibration_options()


def _parser(study: Study | None) -> Parser:
    """Make the parser for a study; for none it shows what every study has."""
    parser = Parser(
        prog=typed("calibrate", "STUDY" if study is None else study.name),
        usage="%(prog)s [--OPTION VALUE ...]",
        description="Run all tests on random halves of one condition, without and with a planted shift; with --repack "
        "on words drawn, packed and read anew.",
        allow_abbrev=False,
    )
    add_options(parser, OPTIONS, "options of the calibration")
    if study is None:
        declared = {entry.name for entry in OPTIONS}
        every = (entry for entry in COMMON_OPTIONS if entry.affects != "tests" and entry.name not in declared)
        add_common_options(parser, every)
        return parser
    inherited = _inherited(study)
    own = {entry.name for entry in study.options}
    add_options(parser, (entry for entry in inherited if entry.name in own), "options of this study")
    add_common_options(parser, (entry for entry in inherited if entry.name not in own))
    return parser


def _inherited(study: Study) -> tuple[Option, ...]:
    """Return the options of a study that the calibration does not declare itself."""
    declared = {entry.name for entry in OPTIONS}
    return tuple(entry for entry in inherited_options(study) if entry.name not in declared)


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Calibrate the study that is named first."""
    from metastable.runs.calibration import recorded_options, run_calibration
    from metastable.runs.repacking import run_repacking

    opened = partial(study_of_words, taken=tuple(registry.studies), console=console, recorded=recorded_options)
    study = named_study(
        registry, arguments, _parser, f"calibrate needs a study: {typed('calibrate', 'STUDY')}", table=opened
    )
    words = {name: text for name, text in _parser(study).read(arguments[1:]).items() if text not in (None, False)}
    given = read_options(words, (entry for entry in (*OPTIONS, *_inherited(study)) if entry.name in words))
    out = Path(given.get("out", CalibrationOptions.out))
    options = chosen_options(study, given, recorded_options(out / study.name))
    check_options(study, options)
    console.print(f"[bold]Calibration of {escape(study.name)}[/]")
    command = typed("calibrate", *arguments)
    calibrate = run_repacking if options.repack else run_calibration
    found = calibrate(study, options, stages=RichStages(console), command=command)
    if found is None:
        return
    print_places(found.folder / f"{found.stem}.md", console, "calibration")
