"""Peak memory of a run after its extraction, stage by stage: `python benchmarks/memory.py`.

A cube of made-up counts stands for the extraction; statistics, tables, figures and report are a run's own. Two shapes
are tried, each in a fresh process: many sequences (200,000 of 72 heads) and many features (20,000 heads of 400
sequences). What is printed for each stage is its wall time and the most memory that the process had held by its end,
beside what the cube's means of one measure take. `--sequences N --layers L --heads H` tries another shape.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import metastable.runs.study as study_run
from metastable.extraction import Extraction, load_counts
from metastable.extraction.batches import plan_blocks
from metastable.extraction.store import Layout, create_store
from metastable.extraction.summarizing import RowOptions
from metastable.figures.save import save_figure
from metastable.heads.contrasts import contrasts_of
from metastable.heads.results import Counted
from metastable.models.sites import Site
from metastable.progress import Advance, Silent
from metastable.study import Condition, Material, Options, Sequence, Study

SHAPES = ((200_000, 6, 12), (400, 100, 200))
_TOKENS, _BLOCK = 4, 500
# What a run tests beside the count, and what operating modes are made of.
_MEASURES = ("count_contributions", "count_words", "special_mass", "share")


class Heard(Silent):
    """Prints what each stage took."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """Time a stage."""
        start = time.perf_counter()
        yield lambda *_: None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  {title}: {time.perf_counter() - start:.1f} s, {peak:,.0f} MB", flush=True)


def sequences_of(number: int) -> tuple[Sequence, ...]:
    """Sequences of two words each, in turns of either condition."""
    return tuple(
        Sequence(
            f"s{index:07d}", "ab"[index % 2], ("one", "two"), "one two", (1, 2, 3, 4), (-1, 0, 1, -1),
            covariates={"zipf": float(index % 7)},
        )
        for index in range(number)
    )  # fmt: skip


def cube_at(path: Path, sequences: tuple[Sequence, ...], layers: int, heads: int) -> None:
    """Write a cube of random counts, of which some heads differ between the conditions."""
    layout = Layout(
        identifiers=tuple(one.identifier for one in sequences),
        sites=("self",),
        layers=tuple(range(1, layers + 1)),
        n_heads=heads,
        thresholds=(0.9,),
        n_tokens=_TOKENS,
        max_count=_TOKENS,
        measures=_MEASURES,
        block=max(1, min(_BLOCK, len(sequences), (1 << 25) // (layers * heads * _TOKENS))),
    )
    store = create_store(path, layout, {"key": "made up"})
    rng = np.random.default_rng(0)
    for block in plan_blocks(len(sequences), layout.block):
        arrays = layout.empty_block(block.stop - block.start)
        for name in ("count", *_MEASURES):
            values = arrays[name]
            whole = values.dtype.kind == "u"
            values[:] = (
                rng.integers(1, _TOKENS + 1, values.shape, dtype=np.uint8) if whole else rng.random(values.shape)
            )
            arrays[f"mean_{name}"][:] = values.mean(axis=-1)
        arrays["share"][:] = arrays["count"] / _TOKENS
        arrays["mean_share"][:] = arrays["share"].mean(axis=-1)
        store.write(block, arrays)


def run(n_sequences: int, layers: int, heads: int, permutations: int) -> None:
    """Run one shape."""
    study = Study(
        "made_up",
        "Made up",
        "How much memory?",
        (Condition("a", "even"), Condition("b", "odd")),
        build=lambda *_: Material(()),
        measure="count",
    )
    sites = (Site("self", layers, heads, "text"),)
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "counts.zarr"
        sequences = sequences_of(n_sequences)
        cube_at(path, sequences, layers, heads)
        size = n_sequences * layers * heads * 8 / 1e6
        print(f"{n_sequences:,} sequences, {layers * heads:,} heads: the means of one measure take {size:,.0f} MB")
        options = Options(permutations=permutations, measure="count", out=home, threshold=(0.9,))
        encoder: Any = SimpleNamespace(
            model_id="made-up", revision=None, weights_hash="0" * 64, dtype="float32", device="cpu", sites=sites
        )
        extraction = Extraction(
            load_counts(path),
            path,
            "made up",
            False,
            0,
            n_sequences,
            "interface",
            "made up",
            "made up",
            "made up",
            4096,
            RowOptions(),
        )
        counted = Counted(
            study, options, Path(home) / study.name, Material(sequences), contrasts_of(study, sequences), encoder,
            extraction,
        )  # fmt: skip
        replaced: dict[str, Any] = {
            "count_study": lambda *_, **__: counted,
            "write_run_browser": lambda *_: None,
            "take_along": lambda *_: None,
            "saving_beside": lambda *_: nullcontext(save_figure),
        }
        for name, value in replaced.items():
            setattr(study_run, name, value)
        study_run.run_study(study, options, stages=Heard())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  peak {peak:,.0f} MB, {peak / max(size, 1):.1f} times the means of one measure", flush=True)


def main() -> None:
    """Try one shape, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--permutations", type=int, default=1000)
    given = parser.parse_args()
    if given.sequences is not None:
        run(given.sequences, given.layers, given.heads, given.permutations)
        return
    for shape in SHAPES:
        words = [f"--{name}={value}" for name, value in zip(("sequences", "layers", "heads"), shape, strict=True)]
        subprocess.run([sys.executable, __file__, *words, f"--permutations={given.permutations}"], check=True)


if __name__ == "__main__":
    main()
