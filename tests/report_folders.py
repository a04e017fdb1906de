"""Folders of finished reports, as small as a comparison can read, with effects that the test chooses."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metastable.files import files_below, sha256_of
from metastable.stats.corrections import adjust_p_values
from metastable.stats.effect_kinds import DIFFERENCE, SLOPE


def report_folder(
    folder: Path,
    *,
    shape: tuple[tuple[str, int, int], ...] = (("self", 3, 4),),
    weights: str = "a" * 64,
    model: str = "tiny",
    thresholds: tuple[float, ...] = (0.9,),
    seed: int = 0,
    common: int | None = None,
    predictor: str | None = None,
    conditions: tuple[str, str] = ("concrete", "abstract"),
    half: float = 0.2,
    tokens: int = 10,
    options: dict[str, Any] | None = None,
    beside: tuple[str, ...] = (),
    alike: tuple[str, ...] = (),
) -> Path:
    """Write a report of a model that nobody ran.

    Effects are normal with a standard deviation of 0.5; of two folders with the same `common` they share a half.
    Intervals reach `half` to either side. Measures `beside` that of the options have effects of their own.
    Of covariates run.json says which are `alike`.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    measure = (options or {}).get("measure", "count")
    effect = DIFFERENCE if predictor is None else SLOPE
    parts = []
    for tested, threshold in product((measure, *beside), thresholds):
        for site, layers, heads in shape:
            layer, head = (grid.ravel() + 1 for grid in np.indices((layers, heads)))
            g = rng.normal(0, 0.5, layer.size)
            if common is not None:
                g = (g + np.random.default_rng(common).normal(0, 0.5, layer.size)) / np.sqrt(2)
            parts.append(
                pd.DataFrame(
                    {
                        "site": site,
                        "layer": layer,
                        "head": head,
                        "threshold": threshold,
                        "measure": tested,
                        effect.size: g,
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    g = table[effect.size]
    p = np.clip(np.exp(-2 * (g / half) ** 2), 1e-4, 1)
    heads_table = table.assign(
        n_a=20, n_b=20, **{effect.estimate: 2 * g}, p_perm=p, p_perm_fdr=adjust_p_values(p),
        verdict=np.where(adjust_p_values(p) < 0.05, "different", "undecided"),
    )  # fmt: skip
    heads_table.to_csv(folder / "heads.csv", index=False)
    keys = table[["site", "layer", "head", "threshold", "measure"]]
    keys.assign(**{effect.size_low: g - half, effect.size_high: g + half}).to_csv(folder / "details.csv", index=False)
    in_a = np.arange(40) < 20
    pd.DataFrame(
        {
            "condition": np.where(in_a, *conditions),
            "cluster": pd.array([None] * 40, dtype="string"),
            "pair": pd.array([None] * 40, dtype="string"),
            "level": pd.array([None] * 40, dtype="string"),
            "text": [f"word{i} shared" for i in range(40)],
            "n_tokens": tokens,
            "n_words": 2,
            "zipf": rng.normal(3, 1, 40) + in_a,
            **({predictor: rng.normal(size=40)} if predictor else {}),
        }
    ).to_parquet(folder / "sequences.parquet")
    recipe = {
        "study": folder.name,
        "title": f"The study {folder.name}",
        "command": f"python -m studies {folder.name}",
        "finished": "2021-05-03T12:00:00+00:00",
        "options": {"measure": "count", "threshold": list(thresholds), "covariates": [], "k": 20, **(options or {})},
        "model": {
            "id": model,
            "folder": None,
            "revision": None,
            "weights_sha256": weights,
            "dtype": "torch.float32",
            "sites": [{"name": name, "layers": layers, "heads": heads} for name, layers, heads in shape],
        },
        "sources": {},
        "notes": [],
        "n_sequences": 40,
        "contrast": {
            "name": "condition", "a": conditions[0], "b": conditions[1], "unit": "sequence", "paired": False,
            "predictor": predictor,
        },
        "permutations": {"used": 100, "exact": False},
        "extraction": {"key": "abc", "capture": "interface", "capture_reason": "equal on a probe", "reused": False},
        "device": "cpu",
        "seconds": {},
        "packages": {"metastable": "0.1.0"},
        "python": "3.11.7",
        "platform": "Linux",
        "verdict": {
            "word": "different", "sentence": "So it is.", "heads": 2, "different": 1, "equivalent": 0, "undecided": 1,
            "alike": list(alike),
        },
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(recipe))
    return signed(folder)


def signed(folder):
    """Let run.json know the files beside it as they are now."""
    path = folder / "run.json"
    recipe = json.loads(path.read_text())
    files = {name: sha256_of(folder / name) for name in files_below(folder, but=("run.json",))}
    path.write_text(json.dumps({**recipe, "files": files}))
    return folder
