"""What counting costs beside a plain forward pass: `python benchmarks/extraction.py`, about five minutes.

All sides run in one process on the same batches of the bundled encoder, in turns, so that a busy machine slows
all of them; the ratios are of the fastest turns, with the median of the ratios within a turn beside them. Where
other work shares the cores, `--threads 1 --cpu-time` counts only this process's own time. Peak memory is that of
a fresh process for each side.

The forward pass with nothing counted multiplies in its linear layers by the library that ours does, so that the ratio
is what counting costs; "as torch multiplies" is the same forward pass as a plain script runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from wordfreq import top_n_list

from metastable.extraction.fused import LayerMeasures, Measuring
from metastable.extraction.mass import count_entries
from metastable.extraction.row_measures import ROW_MEASURES
from metastable.models.capture import LayerAttention, reading
from metastable.models.encoders import Encoder, load_encoder, load_tokenizer, wrap_model
from metastable.models.linear_layers import choose_linear_library, multiplying

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
LENGTHS = (20, 128, 512)
BATCH_TOKENS = 4096
TARGETS = {20: 1.3, 128: 1.5, 512: 2.5}
FOUNDING_TARGETS = {20: 8, 128: 8, 512: 12}
# All measures of a row at one threshold, which is what a run takes.
MEASURES_THRESHOLD = 0.9
MEASURES_TARGETS = {20: 1.2, 128: 1.5, 512: 2.0}


@dataclass(frozen=True)
class Side:
    """One way to do the work; run() does the whole batch, or `n_sequences` of it."""

    name: str
    run: Callable[[], object]
    n_sequences: int


def word_batch(n_tokens: int, n_sequences: int, seed: int = 0) -> torch.Tensor:
    """Token ids of sequences of common words, each exactly `n_tokens` long with its special tokens."""
    tokenizer = load_tokenizer()
    words = top_n_list("en", 20_000)
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n_sequences):
        ids = tokenizer.encode(" ".join(rng.choice(words, n_tokens))).token_ids
        rows.append([*ids[: n_tokens - 1], ids[-1]])
    return torch.tensor(rows)


def _inputs(ids: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@contextmanager
def attention(model: Any, name: str) -> Iterator[None]:
    """Run a model with one of transformers' own attention implementations."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def forward(encoder: Encoder, ids: torch.Tensor, implementation: str) -> None:
    """Run the model and count nothing."""
    with multiplying("cpu", torch.float32):
        plain_forward(encoder, ids, implementation)


def plain_forward(encoder: Encoder, ids: torch.Tensor, implementation: str) -> None:
    """Do the same with the linear layers as torch multiplies."""
    with attention(encoder.model, implementation), torch.inference_mode():
        encoder.model(**_inputs(ids))


def count_fused(encoder: Encoder, ids: torch.Tensor) -> list[NDArray[np.int16]]:
    """Count as `metastable.extraction.extract` does; one array of small integers a layer."""
    counts: list[NDArray[np.int16]] = []

    def keep(layer: LayerMeasures) -> None:
        counts.append(layer.values["count"].numpy().astype(np.int16))

    def asked(_site: str, _n_queries: int) -> torch.Tensor:
        return torch.ones(ids.shape, dtype=torch.bool)

    with reading(encoder.model, "interface") as read:
        read(_inputs(ids), Measuring(THRESHOLDS, (), asked, asked, keep))
    return counts


def measure_fused(encoder: Encoder, ids: torch.Tensor) -> list[dict[str, NDArray[Any]]]:
    """Take all measures of the rows, the first and the last token special; one dict of arrays a layer."""
    measures: list[dict[str, NDArray[Any]]] = []
    words = torch.ones(ids.shape, dtype=torch.bool)
    words[:, [0, -1]] = False

    def keep(layer: LayerMeasures) -> None:
        measures.append({name: values.numpy() for name, values in layer.values.items()})

    def asked(_site: str, _n_queries: int) -> torch.Tensor:
        return torch.ones(ids.shape, dtype=torch.bool)

    def word_keys(_site: str, _n_keys: int) -> torch.Tensor:
        return words

    with reading(encoder.model, "interface") as read:
        read(_inputs(ids), Measuring((MEASURES_THRESHOLD,), ROW_MEASURES, asked, word_keys, keep))
    return measures


def count_weights(
    encoder: Encoder, ids: torch.Tensor, count: Callable[[torch.Tensor], torch.Tensor]
) -> list[NDArray[np.int32]]:
    """Count the whole weights of each layer, which measures other than the count need."""
    counts: list[NDArray[np.int32]] = []

    def keep(layer: LayerAttention) -> None:
        counts.append(count(layer.weights).numpy())

    with reading(encoder.model, "interface") as read:
        read(_inputs(ids), keep)
    return counts


def count_by_sort(weights: torch.Tensor) -> torch.Tensor:
    """Count by one batched torch.sort."""
    mass = weights.sort(dim=-1, descending=True).values.cumsum(dim=-1)
    goals = torch.tensor(THRESHOLDS) - 1e-6
    return torch.stack([1 + (mass < goal).sum(dim=-1) for goal in goals], dim=-1)


def count_row_by_row(encoder: Encoder, ids: torch.Tensor, *, sort_once: bool) -> list[NDArray[np.int32]]:
    """Count as the founding experiment did: a sequence at a time, a Python loop over rows, numpy's sort.

    It knew one threshold, so five take five passes; with `sort_once` all of them share a row's sort.
    """
    counts = []
    with attention(encoder.model, "eager"), torch.inference_mode():
        for sequence in ids:
            layers = encoder.model(**_inputs(sequence[None]), output_attentions=True).attentions
            for layer in layers:
                rows = layer[0].reshape(-1, layer.shape[-1]).numpy()
                counts.append(_loop_once(rows) if sort_once else _loop(rows))
    return counts


def _loop(rows: NDArray[np.float32]) -> NDArray[np.int32]:
    counts = np.empty((len(rows), len(THRESHOLDS)), dtype=np.int32)
    for index, threshold in enumerate(THRESHOLDS):
        for i, row in enumerate(rows):
            mass = np.cumsum(np.sort(row)[::-1], dtype=np.float64)
            counts[i, index] = 1 + np.sum(mass < (threshold - 1e-6) * mass[-1])
    return counts


def _loop_once(rows: NDArray[np.float32]) -> NDArray[np.int32]:
    counts = np.empty((len(rows), len(THRESHOLDS)), dtype=np.int32)
    goals = np.array(THRESHOLDS) - 1e-6
    for i, row in enumerate(rows):
        mass = np.cumsum(np.sort(row)[::-1], dtype=np.float64)
        counts[i] = 1 + np.searchsorted(mass, goals * mass[-1])
    return counts


def measure(sides: list[Side], repetitions: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Time the sides in turns; seconds a sequence."""
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for repetition in range(repetitions + 1):
        for side in sides:
            start = clock()
            side.run()
            if repetition:
                times[side.name].append((clock() - start) / side.n_sequences)
    return times


def compare(encoder: Encoder, n_tokens: int, repetitions: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Time all sides at one length."""
    n_sequences = BATCH_TOKENS // n_tokens
    ids = word_batch(n_tokens, n_sequences)
    few = ids[: max(1, 256 // n_tokens)]
    sides = [
        Side("sdpa, no counting", lambda: forward(encoder, ids, "sdpa"), n_sequences),
        Side("sdpa, as torch multiplies", lambda: plain_forward(encoder, ids, "sdpa"), n_sequences),
        Side("eager, no counting", lambda: forward(encoder, ids, "eager"), n_sequences),
        Side("ours", lambda: count_fused(encoder, ids), n_sequences),
        Side("ours, all measures", lambda: measure_fused(encoder, ids), n_sequences),
        Side(
            "ours, on whole weights",
            lambda: count_weights(encoder, ids, lambda weights: count_entries(weights, THRESHOLDS)),
            n_sequences,
        ),
        Side("batched torch.sort", lambda: count_weights(encoder, ids, count_by_sort), n_sequences),
        Side("founding way", lambda: count_row_by_row(encoder, few, sort_once=False), len(few)),
        Side("founding way, one sort", lambda: count_row_by_row(encoder, few, sort_once=True), len(few)),
    ]
    return measure(sides, repetitions, clock)


def check(encoder: Encoder, n_tokens: int) -> str:
    """Compare our counts with the founding way's; only rows within rounding of a threshold may differ."""
    ids = word_batch(n_tokens, 2, seed=1)
    ours = np.stack(count_fused(encoder, ids)).transpose(1, 0, 2, 3, 4).reshape(-1, len(THRESHOLDS))
    theirs = np.concatenate(count_row_by_row(encoder, ids, sort_once=True))
    differ = np.abs(ours - theirs)
    return f"{np.count_nonzero(differ)} of {differ.size} counts differ, by at most {differ.max()}"


def peak(side: str, n_layers: int) -> int:
    """Peak memory in bytes of a process that runs one side at 512 tokens; called in that process."""
    encoder = load_encoder()
    if n_layers != encoder.model.config.num_hidden_layers:
        from transformers import BertConfig, BertModel

        config = BertConfig(**{**encoder.model.config.to_dict(), "num_hidden_layers": n_layers})
        encoder = wrap_model(BertModel(config).eval())
    ids = word_batch(512, BATCH_TOKENS // 512)
    sides: dict[str, Callable[[], object]] = {
        "sdpa": lambda: forward(encoder, ids, "sdpa"),
        "ours": lambda: count_fused(encoder, ids),
        "measures": lambda: measure_fused(encoder, ids),
    }
    sides[side]()
    # Not getrusage: its peak begins with that of the process that started this one. Linux alone has this file.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _peak_of_process(side: str, n_layers: int) -> int:
    command = [sys.executable, __file__, "--peak", side, "--layers", str(n_layers)]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


def report_speed(encoder: Encoder, lengths: Sequence[int], repetitions: int, clock: Callable[[], float]) -> None:
    """Print the tables of times."""
    for n_tokens in lengths:
        before = os.getloadavg()[0]
        times = compare(encoder, n_tokens, repetitions, clock)
        sdpa, ours = times["sdpa, no counting"], times["ours"]
        print(f"\n{n_tokens} tokens, batches of {BATCH_TOKENS // n_tokens}; load average before {before:.1f}")
        print(f"{'':26}{'ms a sequence':>14}{'x sdpa':>9}{'median':>9}{'x ours':>9}")
        for name, values in times.items():
            paired = median(value / base for value, base in zip(values, sdpa, strict=True))
            print(
                f"{name:26}{min(values) * 1e3:14.2f}{min(values) / min(sdpa):9.2f}{paired:9.2f}"
                f"{min(values) / min(ours):9.1f}"
            )
        founding = min(times["founding way"]) / min(ours)
        print(
            f"target {TARGETS[n_tokens]} times sdpa: {min(ours) / min(sdpa):.2f}; "
            f"target {FOUNDING_TARGETS[n_tokens]} times faster than the founding way: {founding:.1f}; "
            f"{check(encoder, n_tokens)}"
        )
        measures = times["ours, all measures"]
        paired = median(value / base for value, base in zip(measures, sdpa, strict=True))
        print(
            f"all of {', '.join(ROW_MEASURES)} at threshold {MEASURES_THRESHOLD}: target "
            f"{MEASURES_TARGETS[n_tokens]} times sdpa: {min(measures) / min(sdpa):.2f}, median {paired:.2f}; "
            f"times sdpa as torch multiplies: {min(measures) / min(times['sdpa, as torch multiplies']):.2f}"
        )


def report_memory() -> None:
    """Print the peak memory of fresh processes."""
    layer = 12 * 512 * 512 * 4 * (BATCH_TOKENS // 512)
    print(f"\nPeak memory at 512 tokens; one layer's attention is {layer / 2**20:.0f} MiB")
    for n_layers in (6, 24):
        sdpa = _peak_of_process("sdpa", n_layers)
        for side, name in (("ours", "ours"), ("measures", "ours, all measures")):
            ours = _peak_of_process(side, n_layers)
            print(
                f"{n_layers} layers: sdpa {sdpa / 2**20:.0f} MiB, {name} {ours / 2**20:.0f} MiB, "
                f"difference {(ours - sdpa) / 2**20:.0f} MiB, {ours / (sdpa + layer):.2f} of sdpa and one layer "
                "(target 1.2)"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--lengths", type=int, nargs="+", choices=LENGTHS, default=LENGTHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--peak", choices=["sdpa", "ours", "measures"])
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(json.dumps(peak(options.peak, options.layers)))
        return
    print(f"{options.threads} threads, thresholds {THRESHOLDS}, torch {torch.__version__}")
    print(f"linear layers by {choose_linear_library('cpu', torch.float32)}")
    clock = time.process_time if options.cpu_time else time.perf_counter
    report_speed(load_encoder(device="cpu"), options.lengths, options.repetitions, clock)
    report_memory()


if __name__ == "__main__":
    main()
