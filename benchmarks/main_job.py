"""The whole main job beside a plain script of known parts: `python benchmarks/main_job.py`, some minutes.

The job is the founding study from words to report: attention counts of every token in every head, tests of every head,
mixed models, figures. Ours is `python -m studies mt40k_topbotk` as it is typed. The plain script is what one writes
without metastable: transformers' eager attention with `output_attentions`, torch.sort for the counts, scipy's
permutation test head by head, a loop of statsmodels' `MixedLM`, and the founding figures by matplotlib. It is given the
token ids and the model as files, and does less: no family-wise maximum, no intervals, no measure beside the count, no
report in words, no browser.

Both sides run in fresh processes, in turns; the ratio is of the fastest turns. Where other work shares the cores,
`--cpu-time` takes the time that a process and its children used. What both sides found is compared at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

THRESHOLD = 0.9
_BATCH = 32


@contextmanager
def stage(found: dict[str, float], name: str) -> Iterator[None]:
    """Time a part of the plain script."""
    start = time.perf_counter()
    yield
    found[name] = time.perf_counter() - start


def plain(folder: Path, n_permutations: int) -> None:
    """Do the job by known parts; reads tokens.npz and the model from a folder, writes plain.npz and figures to it."""
    took: dict[str, float] = {}
    given = np.load(folder / "tokens.npz")
    ids, lengths, in_a = given["ids"], given["lengths"], given["in_a"]
    with stage(took, "imports"):
        import matplotlib as mpl
        from matplotlib import pyplot as plt
        from scipy import stats
        from statsmodels.regression.mixed_linear_model import MixedLM
        from transformers import AutoModel

        mpl.use("agg")
    with stage(took, "model"):
        model = AutoModel.from_pretrained(folder / "model", attn_implementation="eager").eval()
    with stage(took, "counts"):
        counts = plain_counts(model, ids, lengths)  # (sequences, layers, heads, tokens), 0 where there is no token
        asked = counts > 0
        means = counts.sum(-1) / asked.sum(-1)
        n_sequences, n_layers, n_heads, _ = counts.shape
        table = means.reshape(n_sequences, -1)
    with stage(took, "permutation tests"):

        def welch(a: Any, b: Any, axis: int) -> Any:
            return np.abs(stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic)

        p = np.array(
            [
                stats.permutation_test(
                    (column[in_a], column[~in_a]),
                    welch,
                    alternative="greater",
                    vectorized=True,
                    n_resamples=n_permutations,
                    batch=1000,
                    rng=1,
                ).pvalue
                for column in table.T
            ]
        )
        q = stats.false_discovery_control(p)
    with stage(took, "mixed models"):
        owner = np.repeat(np.arange(n_sequences), lengths)
        design = np.column_stack([np.ones(len(owner)), in_a[owner]])
        mixed = []
        for layer in range(n_layers):
            for head in range(n_heads):
                values = counts[:, layer, head][asked[:, layer, head]].astype(float)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # singular fits
                    mixed.append(MixedLM(values, design, owner).fit(reml=True).fe_params[1])
    with stage(took, "figures"):
        grids = {
            "heatmap_a": table[in_a].mean(0),
            "heatmap_b": table[~in_a].mean(0),
            "difference": table[in_a].mean(0) - table[~in_a].mean(0),
            "significance": -np.log10(q),
        }
        for name, grid in grids.items():
            figure, axes = plt.subplots()
            figure.colorbar(axes.imshow(grid.reshape(n_layers, n_heads)))
            figure.savefig(folder / f"{name}.png", dpi=150)
            plt.close(figure)
        figure, axes = plt.subplots()
        axes.hist(p, 20)
        figure.savefig(folder / "p_values.png", dpi=150)
        figure, places = plt.subplots(n_layers, n_heads, figsize=(2 * n_heads, 2 * n_layers))
        for layer in range(n_layers):
            for head in range(n_heads):
                both = [counts[side, layer, head][asked[side, layer, head]] for side in (in_a, ~in_a)]
                places[layer, head].violinplot(both)
        figure.savefig(folder / "violins.png", dpi=150)
    np.savez(folder / "plain.npz", mean_a=grids["heatmap_a"], mean_b=grids["heatmap_b"], p=p, mixed=np.array(mixed))
    print(json.dumps(took))


def plain_counts(model: Any, ids: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Count by a sort of every row; 0 for padding."""
    parts = []
    width = ids.shape[1]
    for start in range(0, len(ids), _BATCH):
        rows = torch.from_numpy(ids[start : start + _BATCH])
        mask = torch.arange(width) < torch.from_numpy(lengths[start : start + _BATCH])[:, None]
        with torch.inference_mode():
            layers = model(input_ids=rows, attention_mask=mask.long(), output_attentions=True).attentions
        of_layers = []
        for weights in layers:
            ordered, _ = weights.sort(dim=-1, descending=True)
            mass = ordered.double().cumsum(-1)
            count = 1 + (mass < (THRESHOLD - 1e-6) * mass[..., -1:]).sum(-1)
            of_layers.append((count * mask[:, None]).to(torch.int16))
        parts.append(torch.stack(of_layers, 1))
    return torch.cat(parts).numpy()


def prepare(folder: Path, k: int) -> int:
    """Write the study's token ids and the bundled model to a folder; the number of sequences."""
    import studies
    from metastable.models.encoders import load_encoder, load_tokenizer
    from metastable.study import Options
    from metastable.study.registry import find_studies

    study = find_studies(studies).get("mt40k_topbotk")
    own = {option.name: option.default for option in study.options} | {"k": k}
    sequences = study.build(Options(own=own), load_tokenizer()).sequences
    lengths = np.array([len(one.token_ids) for one in sequences])
    ids = np.zeros((len(sequences), lengths.max()), dtype=np.int64)
    for row, one in zip(ids, sequences, strict=True):
        row[: len(one.token_ids)] = one.token_ids
    in_a = np.array([one.condition == study.conditions[0].name for one in sequences])
    np.savez(folder / "tokens.npz", ids=ids, lengths=lengths, in_a=in_a)
    load_encoder(device="cpu").model.save_pretrained(folder / "model")
    return len(sequences)


def timed(command: list[str], threads: int, *, cpu_time: bool) -> tuple[float, str]:
    """Run a command; the seconds that it took, and what it printed."""
    numbers = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=os.environ | numbers, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (used if cpu_time else wall), done.stdout


def compare(folder: Path, report: Path) -> str:
    """Say how far both sides agree."""
    theirs, heads = np.load(folder / "plain.npz"), pd.read_csv(report / "heads.csv")
    ours = heads[heads["measure"] == "count"]
    apart = max(float(np.abs(ours[name] - theirs[name]).max()) for name in ("mean_a", "mean_b"))
    correlation = np.corrcoef(ours["lmm_estimate"], theirs["mixed"])[0, 1]
    of_tests = np.abs(ours["p_perm"] - theirs["p"])
    return (
        f"means of heads differ by at most {apart:.1e}; estimates of the mixed models correlate {correlation:.6f}; p "
        f"of the permutation tests differ by {float(of_tests.median()):.4f} in the median head, by more than 0.02 in "
        f"{int((of_tests > 0.02).sum())} of {len(ours)} (ties, which scipy sees only where rounding leaves them)"
    )


def main() -> None:
    """Run both sides in turns and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=3000, help="words of each condition (default: the study's 3000)")
    parser.add_argument("--permutations", type=int, default=10_000, help="relabelings (default: 10,000)")
    parser.add_argument("--turns", type=int, default=2, help="how often each side runs (default: 2)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides (default: 2)")
    parser.add_argument("--cpu-time", action="store_true", help="the time that the processes used, not the wall's")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.plain:
        plain(options.plain, options.permutations)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_sequences = prepare(folder, options.k)
        print(
            f"{n_sequences} sequences, {options.permutations:,} relabelings, {options.threads} threads of "
            f"{os.cpu_count()} cores, {'CPU' if options.cpu_time else 'wall'} time, fastest of {options.turns}; load "
            f"average {os.getloadavg()[0]:.1f}"
        )
        numbers = ["--permutations", str(options.permutations)]
        commands = {
            "plain script": [sys.executable, __file__, "--plain", name, "--threads", str(options.threads), *numbers],
            "metastable": [
                *(sys.executable, "-m", "studies", "mt40k_topbotk", "--k", str(options.k), *numbers),
                *("--device", "cpu", "--out"),
            ],
        }
        times: dict[str, list[float]] = {side: [] for side in commands}
        parts: dict[str, dict[str, float]] = {}
        for turn in range(options.turns):
            out = folder / f"out{turn}"  # so that nothing is taken over
            for side, command in commands.items():
                typed = [*command, str(out)] if side == "metastable" else command
                took, said = timed(typed, options.threads, cpu_time=options.cpu_time)
                times[side].append(took)
                if side == "metastable":
                    parts[side] = json.loads((out / "mt40k_topbotk" / "run.json").read_text())["seconds"]
                else:
                    parts[side] = json.loads(said.splitlines()[-1])
        for side, taken in times.items():
            told = ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts[side].items())
            print(f"{side}: {min(taken):.1f} s (wall seconds of the last turn: {told})")
        print(f"ratio: {min(times['plain script']) / min(times['metastable']):.1f}")
        print(compare(folder, out / "mt40k_topbotk"))


if __name__ == "__main__":
    main()
