"""What a run says at its end."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from metastable.pipeline import RunResult
from metastable.report.apa import format_p
from metastable.report.verdict import verdict_sentences

__all__ = ["print_summary"]


def print_summary(result: RunResult, console: Console) -> None:
    """Print the verdict, the number of heads by verdict, the three largest, and where the report lies."""
    sentences = verdict_sentences(result.contrast, result.analysis, result.recipe)
    console.print(Panel(escape(" ".join(sentences)), title="verdict", title_align="left", expand=False))
    heads = result.analysis.heads
    primary = heads[heads["threshold"] == heads["threshold"].iloc[0]]
    counts = primary["verdict"].value_counts()
    console.print(
        "heads: "
        + ", ".join(f"{int(counts.get(name, 0))} {name}" for name in ("different", "equivalent", "undecided")),
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    several = primary["site"].nunique() > 1
    for column in (*(("site",) if several else ()), "layer", "head", "difference", "g", "p (FDR)"):
        table.add_column(column, justify="right")
    largest = primary.reindex(primary["hedges_g"].abs().sort_values(ascending=False, kind="stable").index[:3])
    for row in largest.to_dict("records"):
        table.add_row(
            *((str(row["site"]),) if several else ()),
            str(row["layer"]),
            str(row["head"]),
            f"{row['difference']:+.2f}",
            f"{row['hedges_g']:+.2f}",
            format_p(float(row["p_perm_fdr"])),
        )
    console.print(table)
    console.print(f"report: [bold]{escape(str(result.folder / 'report.md'))}[/]", highlight=False, soft_wrap=True)
