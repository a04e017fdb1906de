"""The visual language that all figures share: fonts, sizes, colours and words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from io import BytesIO
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import TextToPath

__all__ = [
    "BAND_COLORS",
    "COLOR_A",
    "COLOR_B",
    "DIVERGING",
    "FONT",
    "INK",
    "LINES",
    "MISSING",
    "MODE_COLORS",
    "MUTED",
    "PALE",
    "SEQUENTIAL",
    "SMALL",
    "TITLE",
    "WIDTH",
    "Drawing",
    "NotebookFigure",
    "alt_of",
    "chart",
    "color_map",
    "drawing",
    "fixed",
    "format_p",
    "ink_on",
    "level",
    "settings",
    "signed",
    "text_width",
    "wrap",
]

WIDTH = 8.3
"""Inches; 830 px, the width of a page on GitHub, at 100 px an inch."""
TITLE, FONT, SMALL = 11.0, 9.0, 7.5
"""Points; SMALL is the least that a reader is asked to read."""

INK, MUTED, PALE, MISSING = "#1b1b1b", "#5f5f5f", "#e3e3e3", "#ededed"

# Both maps are ColorBrewer's, safe for colour-blind readers. The diverging map's ends are the two
# conditions' colours: orange where a needs more patterns, purple where b does.
SEQUENTIAL, DIVERGING = "YlGnBu", "PuOr_r"
COLOR_A, COLOR_B = "#b35806", "#542788"
# The paper's hues of the classes, blue, green, orange and red, so light and dark that they differ in grey too.
MODE_COLORS = {"IV": "#cfe3f5", "III": "#a9d98a", "II": "#f5a04a", "I": "#e0605a"}
# The founding figure's hues, few patterns to nearly all, likewise.
BAND_COLORS = ("#c9fff0", "#7fdc7f", "#efe6a0", "#f0a050", "#e06464")
# Lines that must be told apart: dark and light, dashed and whole, each with its own marker.
LINES: tuple[tuple[str, Any, str], ...] = (
    ("#b35806", "-", "o"),
    ("#542788", "--", "s"),
    ("#1d7f8c", "-.", "^"),
    ("#5f5f5f", ":", "D"),
    ("#e08a1e", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#8b7fbf", (0, (8, 2)), "P"),
)

_RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": FONT,
    "axes.titlesize": FONT + 1,
    "axes.titleweight": "bold",
    "axes.labelsize": FONT,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "white",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": FONT - 1,
    "ytick.labelsize": FONT - 1,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": FONT - 1,
    "legend.frameon": False,
    "text.color": INK,
    "text.usetex": False,
    # a dollar in the name of a condition or in a word is a dollar, and begins no formula
    "text.parse_math": False,
    "figure.facecolor": "white",
    "figure.edgecolor": "white",
    "figure.dpi": 100,
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "hatch.linewidth": 0.8,
    "path.simplify": True,
    # letters as shapes, so that they look the same everywhere; a fixed salt, so that names of parts do too
    "svg.fonttype": "path",
    "svg.hashsalt": "metastable",
}

P = ParamSpec("P")
A = TypeVar("A", bound=Callable[..., str])


_settled: ContextVar[bool] = ContextVar("settled", default=False)


@contextmanager
def settings() -> Iterator[None]:
    """Put this module's settings in the place of the reader's own, once where contexts lie in one another."""
    if _settled.get():
        yield
        return
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast("Any", _RC))
        token = _settled.set(True)
        try:
            yield
        finally:
            _settled.reset(token)


class NotebookFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw under the settings that it was made with: matplotlib makes ticks no sooner than here."""
        with settings():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=160)
        return buffer.getvalue()


class Drawing(Protocol[P]):
    """A figure function that knows its alternative text.

    Attributes
    ----------
    alt : callable
        Takes the same data, without what only looks, and states the finding in words.
    """

    __name__: str
    alt: Callable[..., str]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Figure:
        """Draw."""


def drawing(function: Callable[P, Figure]) -> Drawing[P]:
    """Make a figure function of a function that draws: it runs under this module's settings, whatever the reader's are.

    Its alternative text is the function under `alt_of`.
    """

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with settings():
            figure = function(*args, **kwargs)
            if figure.get_layout_engine() is not None:
                # laid out once: a second round would move things by a rounding error
                figure.draw_without_rendering()
                figure.set_layout_engine("none")
            return figure

    return cast("Drawing[P]", inner)


def alt_of(figure: Drawing[...]) -> Callable[[A], A]:
    """Bind the function below to a figure function as its alternative text."""

    def bind(function: A) -> A:
        figure.alt = function
        return function

    return bind


def chart(height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[NotebookFigure, list[Axes]]:
    """Return an empty figure of the page's width, `height` inches high, and its axes in reading order."""
    figure = NotebookFigure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07))
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.ravel())


def color_map(name: str) -> Colormap:
    """Return a colour map by name that shows what is missing in grey."""
    return mpl.colormaps[name].with_extremes(bad=MISSING)


def ink_on(color: Any) -> str:
    """Return the ink, black or white, that has the larger contrast on `color` (WCAG 2.2, 1.4.3)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    # where the contrasts with black and with white are equal, 4.6 to 1: enough on any colour
    return "black" if luminance > 0.179 else "white"


@cache
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width in inches of one line of text at `size` points."""
    font = FontProperties(family=["DejaVu Sans"], size=size, weight="bold" if bold else "normal")
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, False)
    return float(width) / 72


def wrap(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Break text into lines that fit `width` inches at `size` points.

    Between words; a word wider than a line, such as the name of a study, after its ``_``, ``-`` or ``/``.
    """
    lines: list[str] = []
    for word in text.split(" "):
        parts = [word] if text_width(word, size, bold) <= width else re.findall(r"[^_/-]*[_/-]|[^_/-]+", word)
        for index, part in enumerate(parts):
            longer = f"{lines[-1]}{' ' if index == 0 else ''}{part}" if lines else part
            if lines and text_width(longer, size, bold) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
    return "\n".join(lines)


def fixed(value: float, digits: int = 2) -> str:
    """Write a number without a plus, the minus as a minus; zero without."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def format_p(p: float) -> str:
    """Write a p-value in APA style: ``p = .012``, ``p < .001``; never 0."""
    if p != p:  # NaN
        return "p not known"
    if p < 0.001:
        return "p < .001"
    return f"p = {p:.3f}".replace("0.", ".") if p < 0.9995 else "p > .999"


def level(alpha: float) -> str:
    """Write a significance level in APA style, without a zero before the point: ``.05``."""
    return f"{alpha:.10f}".rstrip("0").replace("0.", ".", 1)


def signed(value: float, digits: int = 2) -> str:
    """Write a number with its sign, the minus as a minus; zero without."""
    text = f"{value:+.{digits}f}"
    if math.isinf(value):
        return text.replace("inf", "∞").replace("-", "−")
    if float(text) == 0:
        return f"{0:.{digits}f}"
    return text.replace("-", "−")
