"""Sections of a report: a heading, paragraphs and tables, and the figures that belong there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from metastable.report.plate import PlacedPlate, markdown

__all__ = ["Section", "bullets", "table", "with_plates"]


@dataclass(frozen=True)
class Section:
    """One section of a report.

    Attributes
    ----------
    key : str
        What plates call it.
    heading : str
        What readers see; empty for what stands above the first heading.
    blocks : tuple of str
        Its paragraphs, lists and tables in Markdown, in order; none where the report has no such section.
    """

    key: str
    heading: str
    blocks: tuple[str, ...] = ()


def with_plates(sections: Sequence[Section], plates: Sequence[PlacedPlate[Any]]) -> list[Section]:
    """Return the sections that have anything to show, each with its figures as its last blocks.

    Parameters
    ----------
    sections : sequence of Section
    plates : sequence of PlacedPlate

    Returns
    -------
    list of Section

    Raises
    ------
    ValueError
        If a plate stands in a section that there is not.
    """
    known = {section.key for section in sections}
    for plate in plates:
        if plate.section not in known:
            raise ValueError(
                f"plate {plate.stem!r} stands in the section {plate.section!r}; there are {', '.join(sorted(known))}"
            )
    filled = [
        replace(
            section,
            blocks=(
                *(block for block in section.blocks if block),
                *_shown([plate for plate in plates if plate.section == section.key]),
            ),
        )
        for section in sections
    ]
    return [section for section in filled if section.blocks]


def _shown(plates: Sequence[PlacedPlate[Any]]) -> Iterator[str]:
    """Write figures in Markdown, neighbours that are folded under the same words in one fold."""
    for folded, some in groupby(plates, key=lambda plate: plate.plate.folded):
        written = [markdown(plate) for plate in some]
        if folded:
            body = "\n\n".join(written)
            yield f"<details>\n<summary>{folded}</summary>\n\n{body}\n</details>"
        else:
            yield from written


_RULES = {"l": "---", "r": "---:", "c": ":---:"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return a table in Markdown.

    Parameters
    ----------
    header : sequence of str
        One cell a column.
    rows : sequence of sequence of str
    align : str
        One letter a column: l, r or c.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the header, a row and `align` have different numbers of columns.

    Examples
    --------
    >>> print(table(["head", "g"], [["1", "0.50"], ["2", "−0.10"]], "lr"))
    | head | g |
    | --- | ---: |
    | 1 | 0.50 |
    | 2 | −0.10 |
    """
    if any(len(row) != len(align) for row in (header, *rows)):
        raise ValueError(f"a table of {len(align)} columns needs as many cells in its header and in every row")
    lines = (header, [_RULES[letter] for letter in align], *rows)
    # an empty cell is one space, as a person writes it
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines)


def bullets(texts: Sequence[str]) -> str:
    """Return a list in Markdown, one text a bullet; empty if there is none."""
    return "\n".join(f"- {text}" for text in texts)
