"""What may be exchanged in a table of texts: which texts are two conditions, pairs, clusters, units of two factors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from metastable.errors import InputError, plural
from metastable.material.tables import column_key
from metastable.material.text_rows import TextRow, TextRows
from metastable.study import Condition, Design, Factor

__all__ = ["Designed", "designed", "pick_conditions"]

# Column names that name what a unit is, in words of which an "s" makes several.
_UNITS = frozenset(
    {"item", "subject", "participant", "speaker", "author", "writer", "person", "patient", "student", "rater",
     "document", "book", "word", "noun", "verb", "sentence", "frame"}
)  # fmt: skip
_LEAST_CROSSED = 2


@dataclass(frozen=True)
class Designed:
    """Texts of two conditions, joined as their design joins them.

    Attributes
    ----------
    rows : tuple of TextRow
        With `TextRow.pair`, `cluster`, `context` and `level` as the design uses them.
    conditions : pair of str
        a, then b.
    design : Design
    notes : tuple of str
        How the columns were used, and what was left out.
    """

    rows: tuple[TextRow, ...]
    conditions: tuple[str, str]
    design: Design
    notes: tuple[str, ...] = ()


def pick_conditions(texts: TextRows, a: str | None, b: str | None) -> tuple[str, str]:
    """Return which condition is a and which is b.

    Parameters
    ----------
    texts : TextRows
        With conditions.
    a, b : str or None
        As they are named; None for the first, and for the other one.

    Returns
    -------
    pair of str

    Raises
    ------
    InputError
        If there is no such condition, both are one, or of more than two it is not said which.
    """
    names = texts.conditions
    for flag, name in (("--a", a), ("--b", b)):
        if name is not None and name not in names:
            raise InputError(f"{flag} {name}: {texts.source} has the conditions {_listed(names)}; name one of them")
    if a is not None and a == b:
        raise InputError(f"--a {a} --b {b}: a condition is not compared with itself; name two")
    if len(names) > 2 and (a is None or b is None):
        counted = Counter(row.condition for row in texts.rows)
        raise InputError(
            f"{texts.source} has {len(names)} conditions, "
            f"{_listed([f'{name} ({counted[name]:,} texts)' for name in names])}; "
            "pick two by --a and --b"
        )
    first = a if a is not None else next(name for name in names if name != b)
    second = b if b is not None else next(name for name in names if name != first)
    return first, second


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def designed(texts: TextRows, *, a: str | None = None, b: str | None = None, drop_incomplete: bool = False) -> Designed:
    """Find the design of texts from the columns that they have.

    Parameters
    ----------
    texts : TextRows
    a, b : str or None
        The conditions to compare.
    drop_incomplete : bool
        Whether pairs without a partner, and units without a level, are left out and counted.

    Returns
    -------
    Designed
        Subjects with texts in both conditions make pairs of their means; with items in several subjects, items are
        the pairs and subjects the contexts that they are crossed with. Subjects within a condition are clusters, and
        their items contexts.

    Raises
    ------
    InputError
        If a pair has no partner, a unit lacks a level, or the conditions cannot be picked.
    """
    if not texts.conditions:
        if a is not None or b is not None:
            raise InputError(f"--a and --b name conditions, but {texts.source} has none: its texts are rated")
        return _of_predictor(texts)
    first, second = pick_conditions(texts, a, b)
    rows = tuple(row for row in texts.rows if row.condition in (first, second))
    notes: tuple[str, ...] = ()
    others = Counter(row.condition for row in texts.rows if row.condition not in (first, second))
    if others:
        notes = (
            "texts of other conditions are left out: " + ", ".join(f"{n:,} of {name}" for name, n in others.items()),
        )
    chosen = replace(texts, rows=rows)
    found = _factorial(chosen, (first, second), drop_incomplete) if "level" in texts.columns else _simple(
        chosen, (first, second), drop_incomplete
    )  # fmt: skip
    return replace(found, notes=(*notes, *found.notes))


def _noun(texts: TextRows, role: str, other: str = "") -> str:
    """Return what a unit is called: its column's name, where that is a noun for it."""
    key = column_key(texts.columns[role]).removesuffix("_id").replace("_", " ")
    return key if (key := key.removesuffix("s")) in _UNITS else other


def _contexts(texts: TextRows) -> str:
    """Return what a context is called: its column's name, where a formula can hold it."""
    key = column_key(texts.columns["context"]).removesuffix("_id") if "context" in texts.columns else "context"
    return key if key.isidentifier() else "context"


def _sides(rows: Iterable[TextRow], name: Callable[[TextRow], str | None]) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(name(row) or "", set()).add(row.condition)
    return sides


def _pair(row: TextRow) -> str | None:
    return row.pair


def _cluster(row: TextRow) -> str | None:
    return row.cluster


def _complete_pairs(texts: TextRows, drop: bool) -> tuple[TextRows, tuple[str, ...]]:
    """Leave out pairs without a partner, or refuse the first one."""
    sides = _sides(texts.rows, _pair)
    lonely = {name for name, side in sides.items() if len(side) < 2}
    if not lonely:
        return texts, ()
    lost = next(row for row in texts.rows if row.pair in lonely)
    if not drop or len(lonely) == len(sides):
        every = ", as no other has" if len(lonely) == len(sides) else ""
        raise InputError(
            f"{texts.where(lost)}: the {_noun(texts, 'pair', 'pair')} {lost.pair!r} has no text in the other "
            f"condition{every}; give it a partner, or leave such rows out" + ("" if every else " by --drop-incomplete")
        )
    kept = tuple(row for row in texts.rows if row.pair not in lonely)
    has, was = ("has", "was") if len(lonely) == 1 else ("have", "were")
    note = (
        f"{len(lonely):,} of {len(sides):,} {_noun(texts, 'pair', 'pair')}s {has} texts in one condition only and "
        f"{was} left out, with {plural(len(texts.rows) - len(kept), 'text')}"
    )
    return replace(texts, rows=kept), (note,)


def _simple(texts: TextRows, conditions: tuple[str, str], drop: bool) -> Designed:
    """Find a design of one factor."""
    context = _contexts(texts)
    has_pair, has_cluster = "pair" in texts.columns, "cluster" in texts.columns
    notes: tuple[str, ...] = ()
    if has_pair and has_cluster:
        return _items_and_subjects(texts, conditions, drop)
    if has_pair:
        texts, notes = _complete_pairs(texts, drop)
        design = Design(paired=True, unit=_noun(texts, "pair"), context=context)
        return Designed(texts.rows, conditions, design, notes)
    if has_cluster:
        return _clusters(texts, conditions, context)
    return Designed(texts.rows, conditions, Design(context=context))


def _clusters(texts: TextRows, conditions: tuple[str, str], context: str) -> Designed:
    """Find whether subjects are crossed with conditions or lie within them."""
    noun = _noun(texts, "cluster")
    called = noun or "cluster"
    sides = _sides(texts.rows, _cluster)
    crossed = {name for name, side in sides.items() if len(side) == 2}
    n_crossed = sum(row.cluster in crossed for row in texts.rows)
    if not crossed:
        return Designed(texts.rows, conditions, Design(clustered=True, unit=noun, context=context))
    paired = len(crossed) >= _LEAST_CROSSED and 2 * n_crossed >= len(texts.rows)
    kept = tuple(row for row in texts.rows if (row.cluster in crossed) == paired)
    lost, n_lost = len(sides) - len(crossed) if paired else len(crossed), len(texts.rows) - len(kept)
    notes: tuple[str, ...] = ()
    if n_lost:
        which = "one condition only" if paired else "both conditions"
        has, was = ("has", "was") if lost == 1 else ("have", "were")
        notes = (
            f"{lost:,} of {len(sides):,} {called}s {has} texts in {which} and {was} left out, with "
            f"{plural(n_lost, 'text')}: the others have them in {'both' if paired else 'one'}",
        )
    if not paired:
        return Designed(kept, conditions, Design(clustered=True, unit=noun, context=context), notes)
    notes = (
        f"each {called} has texts in both conditions: its means of either side are a pair, so that what sets one "
        f"{called} apart from another is held fixed, and the effect is tested against how it varies between them",
        *notes,
    )
    rows = tuple(replace(row, pair=row.cluster) for row in kept)
    return Designed(rows, conditions, Design(paired=True, unit=called, context=context), notes)


def _items_and_subjects(texts: TextRows, conditions: tuple[str, str], drop: bool) -> Designed:
    """Find the unit of texts that have an item and a subject."""
    context = _contexts(texts)
    item, subject = _noun(texts, "pair", "pair"), _noun(texts, "cluster", "cluster")
    sides = _sides(texts.rows, _cluster)
    if all(len(side) == 1 for side in sides.values()):
        # subjects differ between conditions: they are what was drawn on either side, and items what they share
        has_context = "context" in texts.columns
        rows = texts.rows if has_context else tuple(replace(row, context=row.pair) for row in texts.rows)
        note = f"each {subject} has texts in one condition: {subject}s are the units, and {item}s " + (
            "are not part of the test, since there is a column of contexts" if has_context else "their contexts"
        )
        design = Design(clustered=True, unit=subject, context=context if has_context else column_key(item))
        return Designed(tuple(replace(row, pair=None) for row in rows), conditions, design, (note,))
    texts, notes = _complete_pairs(texts, drop)
    homes: dict[str, set[str]] = {}
    for row in texts.rows:
        homes.setdefault(row.pair or "", set()).add(row.cluster or "")
    if all(len(home) == 1 for home in homes.values()):
        if len({row.cluster for row in texts.rows}) == len(homes):
            design = Design(paired=True, unit=_noun(texts, "pair"), context=context)
            return Designed(texts.rows, conditions, design, notes)
        note = (
            f"each {item} is of one {subject}, and each {subject} has texts in both conditions: {subject}s are the "
            "units, and their means of either side are a pair"
        )
        rows = tuple(replace(row, pair=row.cluster) for row in texts.rows)
        return Designed(rows, conditions, Design(paired=True, unit=subject, context=context), (note, *notes))
    if "context" in texts.columns:
        note = (
            f"{item}s are the units and the column {texts.columns['context']} their contexts; {subject}s are not part "
            f"of the test: --context-column {texts.columns['cluster']} takes them in its place"
        )
        return Designed(texts.rows, conditions, Design(paired=True, unit=item, context=context), (note, *notes))
    note = (
        f"{item}s and {subject}s are crossed, and both are draws: {item}s are the units, and {subject}s the contexts "
        "that they are crossed with"
    )
    rows = tuple(replace(row, context=row.cluster) for row in texts.rows)
    design = Design(paired=True, unit=item, context=column_key(subject).replace(" ", "_"))
    return Designed(rows, conditions, design, (note, *notes))


def _factorial(texts: TextRows, conditions: tuple[str, str], drop: bool) -> Designed:
    """Find a design of two factors: the second varies within units, the first between or within them."""
    levels = tuple(dict.fromkeys(row.level or "" for row in texts.rows))
    column = texts.columns["level"]
    if len(levels) != 2:
        raise InputError(
            f"{texts.source}: the column {column} has {len(levels)} levels, {', '.join(levels[:6])}; a second factor "
            "has two: leave rows out, or give --level-column none"
        )
    role = "pair" if "pair" in texts.columns else "cluster" if "cluster" in texts.columns else ""
    if not role:
        raise InputError(
            f"{texts.source}: with a second factor, {column}, a column must say which texts are of one unit, of which "
            "every one has both levels; name it by --pair-column or --cluster-column, or give --level-column none"
        )
    unit = _noun(texts, role, role)
    rows = tuple(row if role == "pair" else replace(row, pair=row.cluster) for row in texts.rows)
    cells: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        cells.setdefault(row.pair or "", set()).add((row.condition, row.level or ""))
    within = any(len({condition for condition, _ in cell}) == 2 for cell in cells.values())
    wanted = 4 if within else 2
    lacking = {name for name, cell in cells.items() if len(cell) < wanted}
    notes: tuple[str, ...] = ()
    if lacking:
        lost = next(row for row in rows if row.pair in lacking)
        if not drop or len(lacking) == len(cells):
            needs = "both levels in both conditions" if within else f"both levels of {column}"
            raise InputError(
                f"{texts.where(lost)}: the {unit} {lost.pair!r} lacks a text; every {unit} needs {needs}: give it one, "
                "or leave such rows out" + ("" if len(lacking) == len(cells) else " by --drop-incomplete")
            )
        kept = tuple(row for row in rows if row.pair not in lacking)
        lack, was = ("lacks", "was") if len(lacking) == 1 else ("lack", "were")
        notes = (
            f"{len(lacking):,} of {len(cells):,} {unit}s {lack} a text of one cell of the design and {was} left out, "
            f"with {plural(len(rows) - len(kept), 'text')}",
        )
        rows = kept
    name = column_key(column)
    factor = Factor(
        name if name.isidentifier() else "level",
        (
            Condition(levels[0], f"texts whose {column} is {levels[0]}"),
            Condition(levels[1], f"texts whose {column} is {levels[1]}"),
        ),
    )
    return Designed(rows, conditions, Design(factor=factor, unit=unit, context=_contexts(texts)), notes)


def _of_predictor(texts: TextRows) -> Designed:
    """Find the design of rated texts: a slope over texts or over clusters, or within clusters two halves."""
    column = texts.columns["predictor"]
    name = column_key(column) or "predictor"
    high, low = f"high {name.replace('_', ' ')}"[:40], f"low {name.replace('_', ' ')}"[:40]
    role = "cluster" if "cluster" in texts.columns else "pair" if "pair" in texts.columns else ""
    context = _contexts(texts)
    if not role:
        middle = _middle([row.predictor for row in texts.rows])
        rows = tuple(replace(row, condition=high if row.predictor > middle else low) for row in texts.rows)
        return Designed(rows, (high, low), Design(predictor=name, context=context))
    unit = _noun(texts, role, role)
    members: dict[str, list[float]] = {}
    for row in texts.rows:
        members.setdefault(str(getattr(row, role)), []).append(row.predictor)
    if all(len(set(values)) == 1 for values in members.values()):
        middle = _middle([values[0] for values in members.values()])
        rows = tuple(
            replace(row, condition=high if row.predictor > middle else low, cluster=str(getattr(row, role)), pair=None)
            for row in texts.rows
        )
        design = Design(clustered=True, predictor=name, unit=unit, context=context)
        return Designed(rows, (high, low), design)
    middles = {name_: _middle(values) for name_, values in members.items()}
    halves = tuple(
        replace(
            row,
            condition=high if row.predictor > middles[str(getattr(row, role))] else low,
            pair=str(getattr(row, role)),
        )
        for row in texts.rows
    )
    sides = _sides(halves, _pair)
    kept = tuple(row for row in halves if len(sides[row.pair or ""]) == 2)
    lonely = sum(len(side) < 2 for side in sides.values())
    if len(sides) - lonely < 2:
        raise InputError(
            f"{texts.source}: no two {unit}s have texts of several values of {column}; give --{role}-column none, or "
            f"more texts of each {unit}"
        )
    notes: tuple[str, ...] = (
        f"the {column} varies between the texts of one {unit}: the texts of each {unit} above and at or below its own "
        f"median are compared, and the {unit}'s means of both are a pair",
    )
    if lonely:
        notes = (*notes, f"{lonely:,} {unit}s with one value of {column} were left out")
    return Designed(kept, (high, low), Design(paired=True, unit=unit, context=context), notes)


def _middle(values: Sequence[float]) -> float:
    """Return the median, or the mean where no value lies above the median."""
    middle = float(np.median(values))
    return middle if max(values) > middle else float(np.mean(values))
