"""A plan in words: how many units find an effect, and what that rests on."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

from metastable.heads.plan_result import BONFERRONI, FORMULA, PlanFound
from metastable.report.apa import format_level, plural
from metastable.report.sections import bullets, table
from metastable.stats.corrections import CORRECTIONS

__all__ = ["counted", "plan_heading", "plan_lead", "plan_rows", "render_plan"]


def _tests(plan: PlanFound) -> dict[str, str]:
    """Return what each test is called."""
    correction = CORRECTIONS[plan.options.correction]
    return {
        FORMULA: "one head by itself, uncorrected, by formula",
        "uncorrected": "one head by itself, uncorrected",
        "corrected": f"a head after the correction ({correction.controls}, {correction.name})",
        "max-t": "a head by the largest statistic (FWER)",
        "omnibus": "whether any head differs (omnibus)",
        BONFERRONI: "a head that is the only one (Bonferroni), by formula",
    }


def _number(plan: PlanFound, row: Mapping[Hashable, Any]) -> str:
    """Write a number of units, of both conditions where they differ."""
    n_a, n_b = float(row["n_a"]), float(row["n_b"])
    if math.isinf(n_a):
        return "no number"
    several = plan.design in {"two", "several"}
    return f"{n_a:,.0f}" if not several or n_a == n_b else f"{n_a:,.0f} and {n_b:,.0f}"


def _interval(row: Mapping[Hashable, Any]) -> str:
    if math.isnan(row["low"]):
        return ""
    low, high = ("∞" if math.isinf(row[side]) else f"{row[side]:,.0f}" for side in ("low", "high"))
    return f"[{low}, {high}]"


def plan_heading(plan: PlanFound) -> list[str]:
    """Return the headings of the table."""
    first = ["effect"] if plan.design != "contexts" else ["effect", "contexts"]
    interval = ["Monte Carlo 95% CI"] if plan.table["low"].notna().any() else []
    return [*first, "what is found", counted(plan), *interval]


def plan_rows(plan: PlanFound) -> list[list[str]]:
    """Return the cells of the table: a row for each effect and test, and for each number of contexts."""
    keys = ["effect"] if plan.design != "contexts" else ["effect", "contexts"]
    called, with_interval = _tests(plan), plan.table["low"].notna().any()
    return [
        [
            *(f"{row[key]:g}" for key in keys),
            called[row["test"]],
            _number(plan, row),
            *([_interval(row)] if with_interval else []),
        ]
        for row in plan.table.to_dict("records")
    ]


def counted(plan: PlanFound) -> str:
    """Say what is counted in the table."""
    unit = plan.unit
    return {
        "two": f"{unit}s of each condition",
        "several": f"{unit}s of each condition",
        "paired": f"{unit}s",
        "slope": f"{unit}s",
        "contexts": f"{unit}s",
    }[plan.design]


def plan_lead(plan: PlanFound) -> str:
    """Say in a sentence what the table holds."""
    symbol = "d" if plan.design == "slope" else "g"
    options = plan.options
    return (
        f"{counted(plan)[:1].upper()}{counted(plan)[1:]} that find an effect of {symbol} with "
        f"{100 * options.power:g}% power at a level of {format_level(options.alpha)}, "
        f"{plural(plan.n_heads, 'head')} tested together."
    )


def render_plan(plan: PlanFound, figure: tuple[str, str] | None) -> str:
    """Return plan.md as text.

    Parameters
    ----------
    plan : PlanFound
    figure : tuple of str or None
        Path and alternative text of the figure of power.

    Returns
    -------
    str
    """
    heading = plan_heading(plan)
    source = "no pilot, by formula and independent heads" if plan.pilot is None else f"the pilot in `{plan.pilot}`"
    parts = [
        f"# How many {plan.unit}s: {plan.title}",
        f"{plan_lead(plan)} Planned from {source}.",
        table(heading, plan_rows(plan), "".join("l" if name == "what is found" else "r" for name in heading)),
        "## What this assumes",
        bullets(plan.assumptions),
        *([f"![{figure[1]}]({figure[0]})"] if figure is not None else []),
        *([f"```sh\n{plan.command}\n```"] if plan.command else []),
    ]
    return "\n\n".join(parts) + "\n"
