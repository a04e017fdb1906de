"""``metastable plan STUDY``: how many units find an effect, before there are data or from a pilot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metastable.cli.arguments import Parser, add_options, named_study, read_options
from metastable.cli.opened_table import open_table, tell_columns
from metastable.heads.plan_options import PLAN_OPTIONS, PlanOptions, chosen_plan, pilot_folder, require_plannable
from metastable.material.table_study import FILE_OPTIONS, study_of
from metastable.program import typed
from metastable.runs.progress_bars import RichStages
from metastable.study import Options, Study
from metastable.study.registry import Registry

__all__ = ["OPTIONS", "run"]

OPTIONS = PLAN_OPTIONS


def _parser(name: str | None, *, of_file: bool = False) -> Parser:
    """Make the parser for a study, or for none in particular."""
    parser = Parser(
        prog=typed("plan", "STUDY" if name is None else name),
        usage="%(prog)s [--effect G ...] [--OPTION VALUE ...]",
        description="Say how many texts, pairs, clusters or items find an effect of a size: by formula, or from the "
        "heads of a pilot, a finished run of the study or of a table.",
        allow_abbrev=False,
    )
    add_options(parser, OPTIONS, "options of the plan")
    if of_file or name is None:
        add_options(parser, FILE_OPTIONS, "the file")
    return parser


def run(registry: Registry, arguments: Sequence[str], console: Console) -> None:
    """Plan the study, or the table, that is named first."""
    if arguments and arguments[0] in {"-h", "--help"}:
        _parser(None).read(arguments)
    file = open_table(arguments, tuple(registry.studies), _recorded)
    study: Study | None
    if file is None:
        study = named_study(
            registry, arguments, lambda _: _parser(None), f"plan needs a study: {typed('plan', 'STUDY')}"
        )
        given = _parser(study.name).read(arguments[1:])
    else:
        words = arguments if arguments[0].startswith("-") else arguments[1:]
        given = _parser(file.name, of_file=True).read(words)
        study = None if file.has_several else study_of(file)
    named = {entry.name for entry in OPTIONS if given.get(entry.name) is not None}
    values = read_options({name: given[name] for name in named}, (one for one in OPTIONS if one.name in named))
    if file is not None:
        tell_columns(file, console)
    if study is not None:
        roles = () if file is None else file.texts.columns
        pilot = pilot_folder(study.name, values.get("pilot"), values.get("out", PlanOptions.out))
        first = typed(study.name) if file is None else typed("run", str(file.values["csv"]))
        require_plannable(study, roles, pilot, values, command=first)
        chosen_plan(study, values, None, Options.margin)
    # pandas and scipy take a second to import: only when something will be planned
    from metastable.report.plan_page import plan_heading, plan_lead, plan_rows
    from metastable.runs.plan import run_plan

    command = typed("plan", *arguments)
    made = run_plan(study, values, file=file, stages=RichStages(console), command=command)
    found = made.found
    console.print(f"[bold]{escape(found.title)}[/]")
    console.print(plan_lead(found), highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in plan_heading(found):
        table.add_column(heading, justify="left" if heading == "what is found" else "right")
    for row in plan_rows(found):
        table.add_row(*map(escape, row))
    console.print(table, highlight=False)
    for text in found.assumptions:
        console.print(f"- {escape(text)}", highlight=False)
    console.print(f"plan: [bold]{escape(str(found.folder / 'plan.md'))}[/]", highlight=False, soft_wrap=True)


def _recorded(folder: Path) -> Options | None:
    """Return the options of the run in a folder, so that a file is read as it was then."""
    if not (folder / "run.json").is_file():
        return None
    from metastable.heads.record import RunRecord

    return RunRecord.read(folder / "run.json").options
