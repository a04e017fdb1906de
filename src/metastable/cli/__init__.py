"""The command line: ``python -m studies``."""

from metastable.cli.main import main

__all__ = ["main"]
