"""``python -m studies``: lists the studies, or runs the one that is named."""

import sys

if __name__ == "__main__":
    try:
        from metastable.cli.entry import start
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(start("python -m studies"))
