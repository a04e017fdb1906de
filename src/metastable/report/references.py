"""The references that a report cites, as BibTeX."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from metastable.measures import known_measures
from metastable.stats.corrections import CORRECTIONS

__all__ = ["all_references", "bibliography", "is_cited"]

_ENTRY = re.compile(r"^@\w+\{(?P<key>\w+),\n.*?^\}\n", re.MULTILINE | re.DOTALL)
_SURNAME = re.compile(r"author = \{(?P<surname>[^,]+),")
_YEAR = re.compile(r"year = \{(?P<year>\d{4})\}")


@cache
def all_references() -> dict[str, str]:
    """Return every reference that a report may cite: those of the file, then those of measures and corrections.

    Returns
    -------
    dict of str to str
        Its BibTeX entry by key.
    """
    text = files("metastable.report").joinpath("templates/references.bib").read_text(encoding="utf-8")
    of_tables = [entry.bibtex for table in (known_measures().measures, CORRECTIONS) for entry in table.values()]
    entries = "\n".join([text, *(f"{entry.strip()}\n" for entry in of_tables)])
    return {match["key"]: match[0] for match in _ENTRY.finditer(entries)}


def is_cited(entry: str, text: str) -> bool:
    """Tell whether a text cites a BibTeX entry: its first author's surname, then its year.

    Parameters
    ----------
    entry : str
        With author and year.
    text : str
        That cites as the American Psychological Association does: "Bates et al., 2015", "Welch (1947)".

    Returns
    -------
    bool

    Examples
    --------
    >>> entry = all_references()["davidson2008wild"]
    >>> is_cited(entry, "Davidson and Flachaire (2008; Hemerik et al., 2020)"), is_cited(entry, "Davidson, 2009")
    (True, False)
    """
    surname, year = _SURNAME.search(entry), _YEAR.search(entry)
    if surname is None or year is None:
        raise ValueError(f"the reference lacks author or year: {entry[:60]}")
    # other authors may stand between, but no other year and no other citation
    return re.search(rf"\b{surname['surname']}[^0-9;()]*?[ (]{year['year']}\b", text) is not None


def bibliography(text: str) -> str:
    """Return the BibTeX entries of all that a text cites, in the order of `all_references`.

    Parameters
    ----------
    text : str
        A report.

    Returns
    -------
    str
    """
    return "\n".join(entry for entry in all_references().values() if is_cited(entry, text))
