"""The command line: ``python -m studies``."""

from metastable.cli.dispatch import main

__all__ = ["main"]
