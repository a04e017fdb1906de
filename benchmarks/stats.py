"""All of the statistics' benchmarks, one after the other: permutation test, mixed models.

OMP_NUM_THREADS=1 python benchmarks/stats.py

Each part compares both sides in one run; its own file says what it times, and takes options.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = ("stats_permutation.py", "stats_mixed.py")


def main() -> None:
    """Run every part in a process of its own."""
    for part in PARTS:
        print(f"== {part}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(part))], check=True)


if __name__ == "__main__":
    main()
