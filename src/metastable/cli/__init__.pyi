"""The public names of the command line."""

from .dispatch import main as main
