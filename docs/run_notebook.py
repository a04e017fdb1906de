"""Run a notebook of the gallery from top to bottom: ``python docs/run_notebook.py docs/gallery/EXAMPLE.ipynb``.

Each cell is run as a notebook runs it, in one namespace and in an empty folder, without anything of the site beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

__all__ = ["code_cells", "run_notebook"]


def code_cells(path: Path) -> list[str]:
    """Return the code of a notebook, cell by cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_notebook(path: Path) -> int:
    """Run every cell of a notebook in order, and return how many there are."""
    cells, names = code_cells(path), {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, cell in enumerate(cells, start=1):
            exec(compile(cell, f"{path.name}, cell {number}", "exec"), names)
    return len(cells)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run a notebook from top to bottom.")
    parser.add_argument("notebook", type=Path)
    given = parser.parse_args()
    run_notebook(given.notebook.resolve())
