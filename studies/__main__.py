"""``python -m studies``: lists the studies, or runs the one that is named."""

import sys

import studies
from metastable.cli import main

if __name__ == "__main__":
    sys.exit(main(package=studies))
