"""The table of studies."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metastable.measures import known_measures
from metastable.program import typed
from metastable.study.registry import Registry

__all__ = ["print_studies"]


def print_studies(registry: Registry, console: Console, commands: dict[str, str]) -> None:
    """Print every study with its question and conditions, then the other commands."""
    table = Table(title="Studies", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("study", style="bold", no_wrap=True)
    table.add_column("conditions", no_wrap=True)
    table.add_column("question")
    for study in registry.studies.values():
        a, b = study.conditions
        table.add_row(study.name, f"{a.name} / {b.name}", study.question)
    console.print(table)
    for name, problem in registry.problems.items():
        console.print(Text(f"{name} cannot be used: {problem}", style="red"))
    for name, problem in known_measures().problems.items():
        console.print(Text(f"measure {name} cannot be used: {problem}", style="red"))
    for hint in registry.hints:
        console.print(Text(hint, style="yellow"))
    console.print()
    usage = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    usage.add_column(no_wrap=True)
    usage.add_column(style="dim")
    usage.add_row(typed("STUDY"), "run a study with its defaults and write its report")
    usage.add_row(typed("STUDY", "--help"), "show its options")
    for command, text in commands.items():
        usage.add_row(f"{typed()} {command}", text)
    console.print(usage)
