"""Fixed data for the figures: made-up results that look like real ones, of any number of layers and heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest


def make_heads(
    n_layers: int, n_heads: int, *, effect: float = 0.35, threshold: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Return a table of heads with smooth p-values that belong to its effects."""
    rng = np.random.default_rng(seed)
    layer, head = (grid.ravel() + 1 for grid in np.indices((n_layers, n_heads)))
    n = layer.size
    depth = layer / max(n_layers, 2)
    mean = np.clip(12 - 9 * depth + rng.normal(0, 2.5, n), 1.2, 18.5)
    g = rng.normal(effect * (depth - 0.3), 0.25, n)
    difference = g * 0.9
    p = np.clip(2 * np.exp(-((g / 0.12) ** 2) / 1.6), 1e-4, 1.0)
    order = np.argsort(p)
    fdr = np.empty(n)
    fdr[order] = np.minimum.accumulate((p[order] * n / np.arange(1, n + 1))[::-1])[::-1].clip(max=1)
    verdict = np.where(fdr < 0.05, "different", np.where(np.abs(g) < 0.05, "equivalent", "undecided"))
    table = pd.DataFrame(
        {
            "site": "self",
            "layer": layer,
            "head": head,
            "threshold": threshold,
            "measure": "count",
            "mean_a": mean + difference / 2,
            "mean_b": mean - difference / 2,
            "median_a": np.round(mean),
            "median_b": np.round(mean - difference),
            "difference": difference,
            "hedges_g": g,
            "p_perm": p,
            "p_perm_fdr": fdr,
            "verdict": verdict,
        }
    )
    table.attrs["conditions"] = ["concrete", "abstract"]
    return table


def make_slopes(n_layers: int, n_heads: int, **options: float) -> pd.DataFrame:
    """Return a table of heads whose effects are slopes over a predictor."""
    return make_heads(n_layers, n_heads, **options).rename(columns={"difference": "slope", "hedges_g": "partial_d"})


def make_histograms(n_layers: int, n_heads: int, *, n: int = 20, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return token counts of every shape that real heads show: narrow, wide, skewed, two-humped."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n_layers, n_heads, n + 1), dtype=np.int64)
    for i in range(n_layers):
        for j in range(n_heads):
            centre = (1 + (n - 2) * rng.beta(1.2, 2.0)) * (1.2 - 0.5 * i / max(n_layers, 2)) + shift
            draws = rng.gamma(6, centre / 6, 800)
            if (i + j) % 5 == 0:
                draws[:300] = rng.normal(0.8 * n, 1, 300)
            out[i, j] = np.bincount(np.clip(np.round(draws), 1, n).astype(int), minlength=n + 1)
    return out


def make_layers(heads: pd.DataFrame) -> pd.DataFrame:
    """Return an omnibus p for every layer."""
    p = heads.groupby("layer")["p_perm"].min() * 3
    return pd.DataFrame(
        {
            "site": "self",
            "layer": p.index,
            "threshold": heads["threshold"].iloc[0],
            "measure": heads["measure"].iloc[0],
            "p_sum_squares": p.clip(upper=1),
        }
    ).reset_index(drop=True)


def make_joined(n_layers: int, n_heads: int) -> pd.DataFrame:
    """Return two studies' heads side by side, as a comparison joins them."""
    first, second = (make_heads(n_layers, n_heads, effect=effect, seed=seed) for effect, seed in ((0.5, 0), (0.3, 1)))
    keys = ["site", "layer", "head", "threshold"]
    first, second = (table.rename(columns={"hedges_g": "size"}) for table in (first, second))
    joined = first.merge(second, on=keys, suffixes=("_first", "_second"))
    difference = joined["size_first"] - joined["size_second"]
    return joined.assign(size_difference=difference, p_difference_fdr=np.exp(-((difference / 0.3) ** 2)))


def make_effects(*shapes: tuple[int, int]) -> pd.DataFrame:
    """Return the effects of a model of each shape in one long table."""
    parts = [
        make_heads(*shape, seed=seed).assign(series=f"study {seed}", depth=lambda t, n=shape[0]: (t["layer"] - 0.5) / n)
        for seed, shape in enumerate(shapes, 1)
    ]
    return pd.concat(parts, ignore_index=True).rename(columns={"hedges_g": "size"})


def make_balance(factor: float = 1.0) -> pd.DataFrame:
    """Return a balance table with one covariate balanced and three not."""
    smd = np.array([0.02, -1.31, -0.94, 0.77]) * factor
    return pd.DataFrame(
        {
            "covariate": ["n_tokens", "word_pieces", "characters", "zipf"],
            "smd": smd,
            "smd_low": smd - 0.2,
            "smd_high": smd + 0.2,
            "balanced": np.abs(smd) < 0.2,
        }
    )


def make_calibration() -> pd.DataFrame:
    """Return rates of which one is too high, one too low, and the rest as promised."""
    rate = np.array([0.051, 0.048, 0.082, 0.012, 0.055, 0.047])
    half = 1.96 * np.sqrt(rate * (1 - rate) / 1000)
    return pd.DataFrame(
        {
            "measure": ["false positives"] * 3 + ["family-wise error"] * 3,
            "test": ["permutation", "mixed model", "token t-test", "Holm", "max-T", "max-T, step-down"],
            "rate": rate,
            "low": rate - half,
            "high": rate + half,
        }
    )


def make_power() -> pd.DataFrame:
    """Return power curves of four tests that end close together."""
    effect = np.linspace(0, 0.6, 13)
    rows = []
    for name, slope in (("uncorrected", 0.16), ("FDR", 0.24), ("max-T", 0.3), ("mixed model, FDR", 0.235)):
        power = 0.03 + 0.96 / (1 + np.exp(-(effect - slope - 0.05) / 0.05))
        rows.append(
            pd.DataFrame({"test": name, "effect": effect, "power": power, "low": power - 0.02, "high": power + 0.02})
        )
    return pd.concat(rows, ignore_index=True).assign(
        low=lambda t: t["low"].clip(lower=0), high=lambda t: t["high"].clip(upper=1)
    )


def make_packings(n_packings: int = 5, n_layers: int = 6, n_heads: int = 12) -> pd.DataFrame:
    """Return the verdicts of some packings and those of the words over all of them."""
    words = make_heads(n_layers, n_heads)
    parts = []
    for number in range(1, n_packings + 1):
        noise = np.random.default_rng(number).normal(0, 0.05, len(words))
        g = words["hedges_g"] + noise
        p = np.clip(4 * np.exp(-((g / 0.14) ** 2) / 1.6), 1e-4, 1)
        verdict = np.where(p < 0.05, "different", "undecided")
        parts.append(words.assign(packing=str(number), hedges_g=g, difference=0.9 * g, p_perm_fdr=p, verdict=verdict))
    table = pd.concat([*parts, words.assign(packing="all")], ignore_index=True)
    table.attrs["conditions"] = ["concrete", "abstract"]
    return table


def make_thresholds() -> pd.DataFrame:
    """Return heads at five thresholds."""
    levels = (0.5, 0.8, 0.9, 0.95, 0.99)
    return pd.concat(
        [make_heads(6, 12, effect=0.2 + 0.05 * i, threshold=level, seed=i) for i, level in enumerate(levels)],
        ignore_index=True,
    )


@pytest.fixture
def heads() -> Callable[..., pd.DataFrame]:
    return make_heads


@pytest.fixture
def slopes() -> Callable[..., pd.DataFrame]:
    return make_slopes


@pytest.fixture
def joined() -> Callable[..., pd.DataFrame]:
    return make_joined


@pytest.fixture
def effects() -> Callable[..., pd.DataFrame]:
    return make_effects


@pytest.fixture
def histograms() -> Callable[..., np.ndarray]:
    return make_histograms


@pytest.fixture
def layers() -> Callable[[pd.DataFrame], pd.DataFrame]:
    return make_layers


@pytest.fixture
def balance() -> Callable[..., pd.DataFrame]:
    return make_balance


@pytest.fixture
def calibration() -> pd.DataFrame:
    return make_calibration()


@pytest.fixture
def power() -> pd.DataFrame:
    return make_power()


@pytest.fixture
def packings() -> Callable[..., pd.DataFrame]:
    return make_packings


@pytest.fixture
def thresholds() -> pd.DataFrame:
    return make_thresholds()


@pytest.fixture
def stability() -> pd.DataFrame:
    """In how many of four settings each of 72 heads differs."""
    heads = make_heads(6, 12)[["site", "layer", "head"]]
    return heads.assign(n_settings=4, n_different=np.random.default_rng(3).integers(0, 5, len(heads)))


@pytest.fixture
def many_models() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Models, means over them and profiles by depth, as `over_models` returns them for one measure."""
    rng = np.random.default_rng(3)
    names = ["bert-base-uncased", "bert-seed-1", "albert-base-v2", "albert@step1000", "untrained bert-base-uncased 1"]
    roles = ["draw", "draw", "draw", "checkpoint", "untrained"]
    size = np.array([0.62, 0.55, 0.41, 0.30, 0.04])
    mean = np.array([0.12, -0.05, 0.2, 0.1, 0.01])
    models = pd.DataFrame({"model": names, "role": roles})
    for quantity, values in (("size", size), ("mean", mean)):
        models = models.assign(
            **{quantity: values, f"{quantity}_low": values - 0.04, f"{quantity}_high": values + 0.05}
        )
    parts = ("all", "0.00-0.50", "0.50-1.00")
    means = pd.DataFrame(
        [
            {
                "models": name, "n_models": n, "part": part, "quantity": quantity,
                "estimate": value + 0.05 * place,
                "low": value + 0.05 * place - 0.1 if n > 1 else np.nan,
                "high": value + 0.05 * place + 0.1 if n > 1 else np.nan,
                "prediction_low": value - 0.2 if n > 2 else np.nan,
                "prediction_high": value + 0.2 if n > 2 else np.nan,
            }
            for name, n, offset in (("all", 3, 0), ("bert", 2, 0.05), ("albert", 1, -0.05), ("untrained", 1, -0.5))
            for place, part in enumerate(parts)
            for quantity, value in (("size", 0.52 + offset), ("mean", 0.1 + offset / 10))
        ]
    )  # fmt: skip
    profiles = pd.DataFrame(
        [
            {"model": name, "part": part, "depth": depth, "quantity": quantity, "estimate": value + rng.normal(0, 0.03)}
            for name, values in zip(names, zip(size, mean, strict=True), strict=True)
            for part, depth in zip(parts[1:], (0.25, 0.75), strict=True)
            for quantity, value in zip(("size", "mean"), values, strict=True)
        ]
    )
    return models, means, profiles


@pytest.fixture
def ranked() -> pd.DataFrame:
    """Heads of three models of two shapes, sorted within their layers."""
    rng = np.random.default_rng(4)
    tables = []
    for model, (n_layers, n_heads) in (("bert", (6, 12)), ("albert", (12, 4)), ("untrained bert 1", (6, 12))):
        layer, rank = (grid.ravel() + 1 for grid in np.indices((n_layers, n_heads)))
        g = np.sort(rng.normal(0, 0.02 if "untrained" in model else 0.6, (n_layers, n_heads)), axis=1).ravel()
        tables.append(pd.DataFrame({"model": model, "site": "self", "layer": layer, "rank": rank, "g": g}))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def trainings() -> pd.DataFrame:
    """Checkpoints of two trainings."""
    size = np.array([0.02, 0.2, 0.45, 0.5, 0.05, 0.15, 0.2])
    return pd.DataFrame(
        {
            "training": ["bert"] * 4 + ["albert"] * 3,
            "checkpoint": ["step0", "step1000", "step10000", "main", "step0", "step1000", "main"],
            "size": size, "size_low": size - 0.02, "size_high": size + 0.03,
            "mean": size / 3, "mean_low": size / 3 - 0.05, "mean_high": size / 3 + 0.05,
        }
    )  # fmt: skip
