"""Where the program starts: the console script ``metastable``, and ``python -m studies``."""

from __future__ import annotations

import gc
import sys

from metastable.stopping import INTERRUPTED, listening

__all__ = ["start"]

# New objects between two searches for cycles. Imports make hundreds of thousands of objects that stay, and a search
# after each 700, as is Python's way, takes a third of the time that they need.
_OBJECTS = 1_000_000


def start(program: str = "metastable") -> int:
    """Run the command line with the studies of the package ``studies``.

    Parameters
    ----------
    program : str
        What the user typed to start it.

    Returns
    -------
    int
        Exit code, as `metastable.cli.main` returns it.
    """
    gc.set_threshold(_OBJECTS, 5, 5)
    try:
        with listening():
            import studies
            from metastable.cli.dispatch import main

            return main(package=studies, program=program)
    except KeyboardInterrupt:
        # before the program listened, or in its last moment
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    finally:
        # nothing is collected at the end of a process that is about to give all of its memory back
        gc.freeze()
