"""A tiny study in forked processes that fail where they write, and another run after each.

Started as a program of its own (`main`), since only a process whose libraries run no threads yet can be forked.
"""

from __future__ import annotations

import csv
import importlib
import json
import re
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from tests.faults import NEVER, arm, forked

_HEAVY = {"metastable", "numba", "pandas", "pyarrow", "scipy", "statsmodels", "transformers", "xarray", "zarr"}
_WORDS = ("tree", "stone", "river", "table", "horse", "window", "garden", "idea", "truth", "hope", "faith", "reason")


def write_texts(path: Path) -> None:
    """Twelve texts of two conditions."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["condition", "text"])
        for index in range(12):
            words = " ".join(_WORDS[(3 * index + step) % len(_WORDS)] for step in range(3 + index % 3))
            rows.writerow([("abstract", "concrete")[index % 2], words])


def run(home: Path, seed: int) -> None:
    """Run the study; its figures are a few bytes each, written as figures are."""
    import metastable.report.run.page as page
    import metastable.runs.study as study_run
    from metastable.files import write_text
    from metastable.material.texts import read_texts, text_study
    from metastable.study.own_options import options_for

    def save_plates(plates: Any, folder: Path, *_: Any) -> None:
        for plate in plates[:3]:
            write_text(folder / "figures" / f"{plate.stem}.svg", f"{plate.stem} {seed}")

    page.save_plates = save_plates
    study_run.write_run_browser = lambda result, *_: write_text(result.folder / "heads.html", str(seed))
    study_run.saving_beside = lambda *_: nullcontext(lambda *_, **__: None)
    study = text_study(read_texts(home / "texts.csv"), name="texts")
    options = options_for(
        study, model=str(home / "model"), permutations=39, seed=seed, alpha=0.1, out=str(home / "out"),
        batch_tokens=40, threshold=(0.5,) if seed == 1 else (0.9,),
    )  # fmt: skip
    study_run.run_study(study, options, command=f"metastable run --seed {seed}")


def contents(out: Path) -> dict[str, str]:
    """What a run leaves, but for its times: of each file its name and its content, of the cube its key."""
    from metastable.extraction.store import open_store
    from metastable.files import files_below, sha256_of

    folder, found = out / "texts", {}
    for name in files_below(folder):
        if name.startswith("counts.zarr/"):
            continue
        if name == "run.json":
            record = json.loads((folder / name).read_text())
            times = {"finished", "seconds", "files"}
            record["extraction"]["reused"] = None
            found[name] = json.dumps({key: value for key, value in record.items() if key not in times}, sort_keys=True)
        elif name == "report.md":
            lines = (folder / name).read_text().splitlines()
            found[name] = "\n".join(line for line in lines if not line.startswith(("| finished", "| seconds")))
        elif name == "report.html":
            page = (folder / name).read_text()
            found[name] = re.sub(r"<td>(finished|seconds)</td>\n<td>[^<]*</td>", "", page)
        else:
            found[name] = sha256_of(folder / name)
    store = open_store(folder / "counts.zarr", "r")
    found["counts.zarr"] = "" if store is None else store.key
    found["README.md"] = (out / "README.md").read_text() if (out / "README.md").exists() else ""
    found["beside"] = ", ".join(sorted(path.name for path in out.iterdir()))
    return found


def accepted(out: Path) -> str:
    """Return the seed of the report that readers accept; empty where they accept none; an error where they mix."""
    from metastable.errors import InputError
    from metastable.extraction import load_counts
    from metastable.files import unlike
    from metastable.heads.finished_report import read_report
    from metastable.report.index import write_index

    folder = out / "texts"
    try:
        report = read_report(folder)
    except InputError as error:
        told = str(error)
        if "\n" in told:
            raise RuntimeError(f"not one sentence: {told}") from None
        if "texts/report.md" in write_index(out).read_text():
            raise RuntimeError("the index lists what is no report") from None
        return ""
    record = report.record
    if unlike(folder, record.files) or any(not (folder / name).exists() for name in record.files):
        raise RuntimeError("a mixture of files was accepted")
    if load_counts(folder / "counts.zarr").attrs["key"] != record.extraction.key:
        raise RuntimeError("the cube is of another run than the report")
    if (folder / "heads.html").read_text() != str(record.options.seed):
        raise RuntimeError("the browser is of another run than the report")
    return str(record.options.seed)


def checked(home: Path, number: int, fault: str, goal: Path) -> bool:
    """Let a run fail at one event and another one follow; whether there was such an event.

    Raises
    ------
    RuntimeError
        If a reader accepts a mixture, or the run after it does not give the undisturbed result.
    """
    out, log, count = home / "out", home / "log", home / "count"
    shutil.rmtree(out)
    shutil.copytree(home / "before", out)
    count.write_text("")

    def fail() -> None:
        seen = arm(out, number, fault)
        try:
            run(home, 2)
        finally:
            count.write_text(str(seen()))

    code = forked(fail, log)
    what = f"{fault} at event {number}: "
    if code not in ((-signal.SIGKILL, 0) if fault == "kill" else (0, 1, 2)) or (fault == "kill" and code == 0):
        if code == 0 and int(count.read_text()) < number:
            return False
        raise RuntimeError(f"{what}exit code {code}\n{log.read_text()}")
    if code == 0 and int(count.read_text()) < number:
        return False
    if code == 1 and "OSError" not in log.read_text() and "PermissionError" not in log.read_text():
        raise RuntimeError(f"{what}no sentence\n{log.read_text()}")

    def look_and_go_on() -> None:
        accepted(out)
        run(home, 2)
        goal_text, found = json.loads(goal.read_text()), contents(out)
        other = [name for name in {*goal_text, *found} if goal_text.get(name) != found.get(name)]
        if other:
            raise RuntimeError(f"after it {other} differ: {[(goal_text.get(n), found.get(n)) for n in other[:2]]}")

    if forked(look_and_go_on, log) != 0:
        raise RuntimeError(f"{what}\n{log.read_text()}")
    return True


def main(home: Path, fault: str, n_points: int) -> None:
    """Try a fault at events of a run, `n_points` spread over all of them, or at every one for 0; print how many."""
    import torch

    torch.set_num_threads(1)
    out, log, goal, modules = home / "out", home / "log", home / "goal", home / "modules"

    def first_run() -> None:
        run(home, 1)
        accepted(out)
        modules.write_text("\n".join(sys.modules))

    def second_run() -> None:
        seen = arm(out, NEVER, fault)
        run(home, 2)
        (home / "events").write_text(str(seen()))

    steps: list[Callable[[], None]] = [
        first_run,
        lambda: shutil.copytree(out, home / "before"),
        second_run,
        lambda: goal.write_text(json.dumps(contents(out))),
    ]
    for make in steps:
        if forked(make, log) != 0:
            raise RuntimeError(log.read_text())
    # what a run imports is imported once, so that each process begins with its work
    for name in modules.read_text().splitlines():
        if name.partition(".")[0] in sys.modules or name.partition(".")[0] in _HEAVY:
            with suppress(Exception):
                importlib.import_module(name)
    number, step = 1, max(1, int((home / "events").read_text()) // n_points) if n_points else 1
    tried = 0
    while checked(home, number, fault, goal):
        number, tried = number + step, tried + 1
    print("tried", tried, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
