"""Where a command says that its report lies."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

__all__ = ["print_places"]


def print_places(page: Path, console: Console, called: str = "report") -> None:
    """Print where a page lies, and where the same page lies in one file.

    Parameters
    ----------
    page : Path
        The Markdown file; the HTML file of the same name stands beside it.
    console : Console
    called : str
        What the page is.
    """
    for name, path in ((called, page), ("the same in one file", page.with_suffix(".html"))):
        console.print(f"{name}: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
