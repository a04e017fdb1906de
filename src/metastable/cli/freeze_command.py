"""``metastable freeze STUDY``: its claims and recipe, recorded before anything is counted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.markup import escape

from metastable.cli.arguments import Parser, add_common_options, add_options, named_study, read_options
from metastable.cli.opened_table import study_of_words
from metastable.material.tables import is_table_file
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Options, Study
from metastable.study.options import COMMON_OPTIONS
from metastable.study.own_options import check_options, options_of
from metastable.study.registry import Registry

__all__ = ["run"]


def _parser(study: Study | None) -> Parser:
    """Make the parser for a study; for none it shows what every study has."""
    parser = Parser(
        prog=typed("freeze", "STUDY" if study is None else study.name),
        usage="%(prog)s [--OPTION VALUE ...]",
        description="Record a study's claims and recipe, so that its report can say that they came before the run.",
        allow_abbrev=False,
    )
    own = () if study is None else study.options
    add_options(parser, own, "options of this study")
    declared = {entry.name for entry in own}
    every = COMMON_OPTIONS if study is None else options_of(study)
    add_common_options(parser, (entry for entry in every if entry.name not in declared))
    return parser


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Freeze the study that is named first."""
    opened = partial(study_of_words, taken=tuple(registry.studies), console=console)
    study = named_study(registry, arguments, _parser, f"freeze needs a study: {typed('freeze', 'STUDY')}", table=opened)
    options = Options.of(read_options(_parser(study).read(arguments[1:]), options_of(study)))
    check_options(study, options)
    from metastable.runs.freezing import freeze_study

    record, path = freeze_study(study, options, stages=RichStages(console), command=typed("freeze", *arguments))
    console.print(f"frozen: [bold]{escape(str(path))}[/], SHA-256 {record.sha256}", highlight=False, soft_wrap=True)
    for claim in record.claims:
        if claim.statement:
            console.print(f"claimed: {escape(claim.statement)}", highlight=False, soft_wrap=True)
    words = ("run", *arguments) if is_table_file(arguments[0]) else tuple(arguments)
    console.print(f"run it with: {escape(typed(*words))}", highlight=False, soft_wrap=True)
