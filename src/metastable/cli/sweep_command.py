"""``python -m studies sweep STUDY``: a study at every combination of some options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from metastable.cli.arguments import Parser, add_options
from metastable.cli.progress_bars import RichStages
from metastable.errors import InputError
from metastable.study import Option
from metastable.study.registry import Registry

__all__ = ["run"]


def _as_list(option: Option) -> Option:
    """Return an option that takes several values, for the parser."""
    if option.many:
        return option
    default = () if option.default is None else (option.default,)
    return replace(option, many=True, default=default)


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Sweep the study that is named first."""
    # scipy and pandas take a second to import: only when something will be run
    from metastable.heads.sweep_axes import read_sweep, sweep_options

    if not arguments or arguments[0].startswith("-"):
        raise InputError("sweep needs a study: python -m studies sweep STUDY --k 500,1000 (python -m studies list)")
    study = registry.get(arguments[0])
    if f"{study.name}_sweep" in registry.studies:
        raise InputError(f"{study.name}_sweep is a study, whose report would be lost; rename it")
    parser = Parser(
        prog=f"python -m studies sweep {study.name}",
        description="Run a study at every combination of the values given, corrected as one analysis. A list of values "
        "is separated by commas or spaces.",
        allow_abbrev=False,
    )
    options = sweep_options(study)
    varying = [_as_list(option) for option in options if option.may_vary]
    add_options(parser, varying, "options that may take several values")
    add_options(parser, (option for option in options if not option.may_vary), "options of the whole sweep")
    values, axes = read_sweep(study, vars(parser.parse_args(arguments[1:])))
    from metastable.report.sweep.sentences import verdict
    from metastable.runs.sweep import run_sweep

    console.print(f"[bold]Sweep: {escape(study.title)}[/]")
    command = shlex.join(["python", "-m", "studies", "sweep", *arguments])
    result = run_sweep(study, values, axes, stages=RichStages(console), command=command)
    if result is None:
        return
    console.print(Panel(escape(" ".join(verdict(result))), title="verdict", title_align="left", expand=False))
    path = result.folder / "report.md"
    console.print(f"report: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
