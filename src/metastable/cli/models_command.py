"""``metastable models STUDY --model A B C``: one study on many models, and what holds over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from metastable.cli.arguments import Parser, add_common_options, add_options, named_study, read_options
from metastable.cli.opened_table import study_of_words
from metastable.cli.written_places import print_places
from metastable.errors import InputError
from metastable.heads.models_options import ModelsOptions
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Option, Options, Study
from metastable.study.entries import declared_options
from metastable.study.options import COMMON_OPTIONS
from metastable.study.own_options import check_options, options_of
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = declared_options(ModelsOptions)

# A revision stands behind the model that it is of.
_TAKEN = {*(entry.name for entry in OPTIONS), "revision"}


def _of_each_run(entries: Sequence[Option]) -> tuple[Option, ...]:
    return tuple(entry for entry in entries if entry.name not in _TAKEN)


def _parser(study: Study | None) -> Parser:
    """Make the parser for a study; for none it shows what every study has."""
    parser = Parser(
        prog=typed("models", "STUDY" if study is None else study.name),
        usage="%(prog)s --model MODEL MODEL ... [--OPTION VALUE ...]",
        description="Run a study on many models, each with its own report, and say what holds over them.",
        allow_abbrev=False,
    )
    add_options(parser, OPTIONS, "the models")
    own = () if study is None else study.options
    add_options(parser, _of_each_run(own), "options of this study")
    declared = {entry.name for entry in own}
    every = COMMON_OPTIONS if study is None else options_of(study)
    add_common_options(parser, (entry for entry in _of_each_run(every) if entry.name not in declared))
    return parser


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Run the study that is named first on the models that are given."""
    example = typed("models", "STUDY", "--model", "A", "B")
    opened = partial(study_of_words, taken=tuple(registry.studies), console=console)
    study = named_study(registry, arguments, _parser, f"models needs a study: {example}", table=opened)
    if f"{study.name}_models" in registry.studies:
        raise InputError(f"{study.name}_models is a study, whose report would be lost; rename it")
    given = _parser(study).read(arguments[1:])
    chosen = ModelsOptions(**read_options(given, OPTIONS))
    if not chosen.model:
        raise InputError(f"models needs models: {typed('models', study.name, '--model', 'A', 'B')}")
    own = {name: text for name, text in given.items() if name not in _TAKEN}
    options = Options.of(read_options(own, options_of(study)))
    check_options(study, options)
    # torch and transformers take seconds to import: only when something will be run
    from metastable.report.models.sentences import verdict
    from metastable.runs.models import run_models

    console.print(f"[bold]Many models: {escape(study.title)}[/]")
    command = typed("models", *arguments)
    result = run_models(study, options, chosen, stages=RichStages(console), command=command)
    if result is None:
        return
    console.print(Panel(escape("\n\n".join(verdict(result))), title="verdict", title_align="left", expand=False))
    for failed in result.record.failed:
        console.print(f"[bold]left out:[/] {escape(failed.label)}: {escape(failed.reason)}", highlight=False)
    print_places(result.folder / "report.md", console)
