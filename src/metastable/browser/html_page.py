"""Writes the head browser: data, style and script in one html file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence as SequenceOf
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from metastable.browser.attention import Attend
from metastable.browser.checked_results import Comparison, Measured
from metastable.browser.data import page_data
from metastable.files import write_text
from metastable.report.one_file import source_hash
from metastable.study import Sequence

__all__ = ["EXAMPLE_BYTES", "json_for_script", "render_browser", "write_browser"]

EXAMPLE_BYTES = 2_200_000
"""The most that the examples take of a page, so that 24 layers of 16 heads stay below 3 MB."""


def json_for_script(value: Any) -> str:
    r"""Return JSON that may stand in a script element: no character of it can end the element.

    Parameters
    ----------
    value : object
        JSON values; NaN is refused.

    Returns
    -------
    str

    Examples
    --------
    >>> json_for_script({"word": "</script>"})
    '{"word":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def render_browser(data: dict[str, Any], *, title: str, lead: str, unit: str) -> str:
    """Return the page as text.

    Parameters
    ----------
    data : dict
        As `metastable.browser.data.page_data` gives it.
    title : str
        The heading.
    lead : str
        One sentence that says what was compared.
    unit : str
        What one observation is.

    Returns
    -------
    str
    """
    folder = files("metastable.browser")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metastable.browser", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    # Only this very script and style may run, and nothing may be fetched, whatever the words hold.
    policy = (
        f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        lead=lead,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        data=Markup(json_for_script({**data, "unit": unit})),
    )


def write_browser(
    path: str | Path,
    *,
    heads: pd.DataFrame,
    details: pd.DataFrame,
    histograms: NDArray[np.integer[Any]],
    conditions: tuple[str, str],
    sequences: SequenceOf[Sequence],
    unit_means: NDArray[np.float64],
    attention: Attend | None = None,
    title: str = "Heads",
    lead: str = "",
    alpha: float = 0.05,
    unit: str = "sequence",
    paired: bool = False,
    measured: Measured | None = None,
    example_bytes: int = EXAMPLE_BYTES,
) -> Path:
    """Write the head browser: one html file that needs no network, no server and no other file.

    Parameters
    ----------
    path : str or Path
        The file to write.
    heads, details : pandas.DataFrame
        Tables of `metastable.stats.analysis.Analysis`.
    histograms : ndarray of int, shape (n_thresholds, 2, n_features, n_max + 1)
        How many tokens of each condition gave each count.
    conditions : pair of str
        Names of a and b, as `Sequence.condition` has them.
    sequences : sequence of Sequence
        In the order of `unit_means`.
    unit_means : ndarray of float64, shape (n_thresholds, n_sequences, n_features)
        Mean of the measure in each sequence.
    attention : callable or None
        As `attention_of` makes it; None shows the words of the examples alone.
    title, lead : str
        The heading, and a sentence that says what was compared.
    alpha : float
        Significance level after correction.
    unit : str
        What one observation is: "sequence", "pair", ...
    paired : bool
        Whether `Sequence.pair` joins the conditions; the examples are then the pairs that differ most.
    measured : Measured or None
        What was compared; the count unless given.
    example_bytes : int
        The most bytes that the examples and their attention may take. Where they take more, one example a
        condition is shown instead of two, then fewer query tokens, at last only the heads of the largest effects.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If tables and arrays do not fit one another.
    """
    comparison = Comparison(
        heads, details, histograms, unit_means, sequences, conditions, paired, measured or Measured()
    )
    data = page_data(comparison, attention, alpha=alpha, max_bytes=example_bytes)
    write_text(Path(path), render_browser(data, title=title, lead=lead, unit=unit))
    return Path(path)
