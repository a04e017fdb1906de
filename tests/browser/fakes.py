"""Results of a run that never was, with every column that the browser reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
import pandas as pd

from metastable.browser import HeadAttention, Token
from metastable.extraction.mass import count_entries
from metastable.study import Sequence

WORDS = ["table", "river", "idea", "dog", "mercy", "stone", "hope", "cloud", "justice", "spoon"]
NASTY = ("</script><script>alert(1)</script>", 'a"b', "it's", "<b>&amp;", "\u2028", "naïve–日本")


def fake_sequences(n_sequences: int, n_words: int, *, seed: int = 0) -> list[Sequence]:
    rng = np.random.default_rng(seed)
    sequences = []
    for index in range(n_sequences):
        words = [str(word) for word in rng.choice([*WORDS, *NASTY], n_words)]
        condition = "concrete" if index % 2 == 0 else "abstract"
        sequences.append(
            Sequence(
                identifier=f"{condition}-{index // 2 + 1:04d}",
                condition=condition,
                words=tuple(words),
                text=" ".join(words),
                token_ids=tuple(range(n_words + 2)),
                word_index=(-1, *range(n_words), -1),
                pair=f"pair-{index // 2}",
            )
        )
    return sequences


def fake_tables(features: pd.DataFrame, thresholds: SequenceOf[float], *, seed: int = 0) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    heads, details = [], []
    n = len(features)
    for threshold in thresholds:
        g = rng.normal(0, 0.3, n)
        p = np.exp(-np.abs(g) * 12)
        keys = features.assign(threshold=threshold, measure="count")
        mean_b = rng.uniform(2, 18, n)
        heads.append(
            keys.assign(
                n_a=30, n_b=30, mean_a=mean_b + g, mean_b=mean_b, median_a=np.round(mean_b + g),
                median_b=np.round(mean_b), difference=g, ci_low=g - 0.2, ci_high=g + 0.2, hedges_g=g,
                statistic=g * 4, p_perm=p, p_perm_fdr=np.minimum(1, p * 2), p_perm_fwer=np.minimum(1, p * 9),
                lmm_estimate=g, lmm_se=0.1, lmm_dof=57.3, lmm_p=p, lmm_p_fdr=np.minimum(1, 2 * p),
                bf10=np.exp(10 * np.abs(g) - 2), log10_bf10=(10 * np.abs(g) - 2) / np.log(10),
                p_tost=np.minimum(1, np.abs(g) * 2),
                verdict=np.where(2 * p < 0.05, "different", np.where(np.abs(g) < 0.03, "equivalent", "undecided")),
            )
        )  # fmt: skip
        details.append(
            keys.assign(
                g_low=g - 0.25, g_high=g + 0.25, superiority=0.5 + g / 4, p_perm_stepdown=np.minimum(1, p * 8),
                p_tost_fdr=np.minimum(1, np.abs(g) * 3), within_margin=False, flat=False, lmm_singular=0.0,
                lmm_converged=1.0,
            )
        )  # fmt: skip
    return {"heads": pd.concat(heads, ignore_index=True), "details": pd.concat(details, ignore_index=True)}


def fake_attention(sequences: SequenceOf[Sequence], thresholds: SequenceOf[float]) -> Any:
    """Random softmax rows, the same for the same sequence and head."""

    def attend(wanted: Mapping[int, SequenceOf[tuple[str, int, int]]]) -> Iterator[HeadAttention]:
        for position in sorted(wanted):
            sequence = sequences[position]
            n = len(sequence.token_ids)
            tokens = tuple(Token(sequence.words[w] if w >= 0 else "[S]", w) for w in sequence.word_index)
            for head in wanted[position]:
                rng = np.random.default_rng([position, head[1], head[2]])
                scores = rng.normal(0, rng.uniform(0.2, 3), (n, n))
                weights = np.exp(scores).astype(np.float32)
                weights /= weights.sum(axis=1, keepdims=True)
                yield HeadAttention(position, head, tokens, tokens, weights, count_entries(weights, thresholds))

    return attend


def fake_run(
    sites: Mapping[str, tuple[int, int]],
    *,
    thresholds: SequenceOf[float] = (0.9,),
    n_sequences: int = 60,
    n_tokens: int = 12,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the arguments of `write_browser`."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame(
        [(site, layer + 1, head + 1) for site, (n_layers, n_heads) in sites.items() for layer in range(n_layers)
         for head in range(n_heads)], columns=["site", "layer", "head"])  # fmt: skip
    sequences = fake_sequences(n_sequences, n_tokens - 2, seed=seed)
    tables = fake_tables(features, thresholds, seed=seed)
    histograms = np.zeros((len(thresholds), 2, len(features), n_tokens + 1), dtype=np.int64)
    for t in range(len(thresholds)):
        heads = tables["heads"].iloc[t * len(features) : (t + 1) * len(features)]
        for side, name in enumerate(("mean_a", "mean_b")):
            share = np.clip(heads[name].to_numpy() / 20, 0.05, 0.95)
            drawn = 1 + rng.binomial(n_tokens - 1, share[:, None], (len(features), 400))
            for feature in range(len(features)):
                histograms[t, side, feature] = np.bincount(drawn[feature], minlength=n_tokens + 1)
    return {
        **tables,
        "histograms": histograms,
        "conditions": ("concrete", "abstract"),
        "sequences": sequences,
        "unit_means": rng.uniform(1, n_tokens, (len(thresholds), n_sequences, len(features))),
        "attention": fake_attention(sequences, thresholds),
    }


def of_slopes(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `write_browser` with the same numbers as slopes instead of differences."""
    heads = run["heads"].rename(columns={"difference": "slope", "hedges_g": "partial_d"})
    details = run["details"].rename(columns={"g_low": "d_low", "g_high": "d_high"})
    return {**run, "heads": heads, "details": details}
