"""How long the program takes to start, to refuse, and to run the default study: whole processes, as ratios.

python benchmarks/startup.py
python benchmarks/startup.py --against ../another_checkout     the default run of both, in turn

What is shown or refused at once is compared with ``python -c "import torch"``, the default run with that of another
checkout. All processes of a round follow one another, so that both sides see the same machine; medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
STUDY = "mt40k_topbotk"


@dataclass(frozen=True)
class Process:
    """One process that is timed.

    Attributes
    ----------
    words : tuple of str
        What follows ``python``.
    checkout : Path
        Whose metastable and studies it imports.
    code : int
        The exit code that it must have.
    """

    words: tuple[str, ...]
    checkout: Path = HERE
    code: int = 0

    def seconds(self, folder: Path) -> float:
        """Run it in a folder and return its wall time."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(self.checkout / "src"), str(self.checkout)])}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *self.words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        elapsed = time.perf_counter() - start
        if done.returncode != self.code:
            raise SystemExit(f"{' '.join(self.words)} ended with {done.returncode}:\n{done.stderr}")
        return elapsed


def studies(*words: str, checkout: Path = HERE, code: int = 0) -> Process:
    """Return the process of a command of the program."""
    return Process(("-m", "studies", *words), checkout, code)


QUICK = {
    "import torch": Process(("-c", "import torch")),
    "list": studies("list"),
    "--version": studies("--version"),
    "--help of a study": studies(STUDY, "--help"),
    "an option that there is not": studies(STUDY, "--max-lenght", "9", code=2),
    "a value that will not do": studies(STUDY, "--alpha", "5", code=2),
    "a norms file that is missing": studies(STUDY, "--norms", "no_such_file.csv", code=2),
    "a study that there is not": studies("mt40k", code=2),
}


def times(processes: Mapping[str, Process], repeats: int) -> dict[str, float]:
    """Return the median time of each process over rounds of all of them, after one round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(repeats + 1):
        for name, process in processes.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds = process.seconds(Path(folder))
            if number:
                found[name].append(seconds)
    return {name: statistics.median(values) for name, values in found.items()}


def show(title: str, found: Mapping[str, float]) -> None:
    """Print times and their ratios to the first."""
    base = next(iter(found.values()))
    print(f"{title:40} {'seconds':>8} {'ratio':>6}")
    for name, seconds in found.items():
        print(f"{name:40} {seconds:8.2f} {seconds / base:6.2f}")
    print()


def main() -> None:
    """Time what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout, for the default run")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of what is quick (default: 5)")
    parser.add_argument("--runs", type=int, default=3, help="rounds of the default run (default: 3)")
    arguments = parser.parse_args()
    show("shown or refused at once", times(QUICK, arguments.repeats))
    if arguments.against is not None:
        checkouts = {"there": arguments.against.resolve(), "here": HERE}
        runs = {name: studies(STUDY, checkout=checkout) for name, checkout in checkouts.items()}
        show(f"the default run of {STUDY}", times(runs, arguments.runs))


if __name__ == "__main__":
    main()
