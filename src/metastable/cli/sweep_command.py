"""``metastable sweep STUDY``: a study at every combination of some options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from metastable.cli.arguments import Parser, add_options, named_study
from metastable.cli.opened_table import study_of_words
from metastable.cli.written_places import print_places
from metastable.errors import InputError
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Option, Study
from metastable.study.options import COMMON_OPTIONS
from metastable.study.own_options import check_options
from metastable.study.registry import Registry

__all__ = ["run"]


def _as_list(option: Option) -> Option:
    """Return an option that takes several values, for the parser."""
    if option.many:
        return option
    default = () if option.default is None else (option.default,)
    return replace(option, many=True, default=default)


def _parser(study: Study | None) -> Parser:
    """Make the parser for a study; for none it shows what every study has."""
    # only when something will be run or shown
    from metastable.heads.sweep_axes import sweep_options

    parser = Parser(
        prog=typed("sweep", "STUDY" if study is None else study.name),
        usage="%(prog)s --OPTION VALUE,VALUE [--OPTION VALUE ...]",
        description="Run a study at every combination of the values given, corrected as one analysis. A list of values "
        "is separated by commas or spaces.",
        allow_abbrev=False,
    )
    options = COMMON_OPTIONS if study is None else sweep_options(study)
    varying = [_as_list(option) for option in options if option.may_vary]
    add_options(parser, varying, "options that may take several values")
    add_options(parser, (option for option in options if not option.may_vary), "options of the whole sweep")
    return parser


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Sweep the study that is named first."""
    from metastable.heads.sweep_axes import read_sweep

    example = typed("sweep", "STUDY", "--k", "500,1000")
    opened = partial(study_of_words, taken=tuple(registry.studies), console=console)
    study = named_study(registry, arguments, _parser, f"sweep needs a study: {example}", table=opened)
    if f"{study.name}_sweep" in registry.studies:
        raise InputError(f"{study.name}_sweep is a study, whose report would be lost; rename it")
    values, axes = read_sweep(study, _parser(study).read(arguments[1:]))
    check_options(study, values)
    from metastable.report.sweep.sentences import verdict
    from metastable.runs.sweep import run_sweep

    console.print(f"[bold]Sweep: {escape(study.title)}[/]")
    command = typed("sweep", *arguments)
    result = run_sweep(study, values, axes, stages=RichStages(console), command=command)
    if result is None:
        return
    console.print(Panel(escape(" ".join(verdict(result))), title="verdict", title_align="left", expand=False))
    print_places(result.folder / "report.md", console)
