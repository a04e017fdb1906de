"""What a run says at its end."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from metastable.cli.written_places import print_places
from metastable.heads.results import RunResult
from metastable.report.apa import format_g, format_interval, format_level, format_p
from metastable.report.measure_words import measure_words
from metastable.report.run.scene import Scene
from metastable.report.run.sentences import lengths_warning
from metastable.report.run.verdict_sentences import verdict_sentences
from metastable.stats.analysis import primary
from metastable.stats.corrections import CORRECTIONS
from metastable.stats.verdict import VERDICTS

__all__ = ["print_summary"]

# Columns of a panel, so that its sentences can be read on a wide screen too.
_WIDEST = 100
_LARGEST = 3


def print_summary(result: RunResult, console: Console) -> None:
    """Print the verdict, a warning of texts far longer than the others, the heads, and where the report lies."""
    options = result.record.options
    sentences = verdict_sentences(result)
    console.print(
        Panel(
            escape("\n\n".join(sentences)),
            title="verdict",
            title_align="left",
            width=min(_WIDEST, console.width),
        ),
        highlight=False,
    )
    warning = lengths_warning(Scene(result))
    if warning:
        console.print(f"[bold]warning:[/] {escape(warning)}", highlight=False)
    heads, details = primary(result.analysis.heads), primary(result.analysis.details)
    counts = heads["verdict"].value_counts()
    console.print(
        "heads: "
        + ", ".join(f"{int(counts.get(name, 0))} {name}" for name in VERDICTS)
        + f" ({CORRECTIONS[options.correction].rate} {format_level(options.alpha)})",
        highlight=False,
    )
    effect, digits = result.analysis.effect, measure_words(options).digits
    several = len(heads["site"].unique()) > 1
    columns = (
        "layer",
        "head",
        effect.name,
        f"{effect.symbol} [95% CI]",
        f"p ({CORRECTIONS[options.correction].controls})",
        "verdict",
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("site", *columns) if several else columns:
        table.add_column(column, justify="left" if column in {"site", "verdict"} else "right", no_wrap=True)
    for index in heads[effect.size].abs().sort_values(ascending=False, kind="stable").index[:_LARGEST]:
        row, extra = heads.loc[index], details.loc[index]
        table.add_row(
            *((str(row["site"]),) if several else ()),
            str(row["layer"]),
            str(row["head"]),
            format_g(row[effect.estimate], digits),
            escape(f"{format_g(row[effect.size])} {format_interval(extra[effect.size_low], extra[effect.size_high])}"),
            format_p(float(row["p_perm_fdr"])),
            str(row["verdict"]),
        )
    console.print(f"the {min(_LARGEST, len(heads))} largest by |{effect.symbol}|:", highlight=False)
    console.print(table, highlight=False)
    print_places(result.folder / "report.md", console)
