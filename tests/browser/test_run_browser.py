"""The browser of a run shows the run's own cube."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from metastable.browser import write_run_browser
from metastable.extraction import extract
from metastable.heads.cube import feature_table, token_histograms, unit_means
from metastable.models.encoders import wrap_model
from metastable.study import Condition, Options, Study
from tests.browser.fakes import fake_tables
from tests.extraction.oracle import text_sequences
from tests.extraction.tiny_models import tiny_model

THRESHOLDS = (0.9, 0.5)


def written(folder: Path, *, tested: tuple[float, ...] = THRESHOLDS, **options: Any) -> tuple[Path, Any, Any]:
    """The browser of a tiny run, its sequences and its cube; `tested` are the thresholds of its tables."""
    encoder = wrap_model(tiny_model("bert"))
    sequences = tuple(text_sequences([9, 12, 7, 10, 12, 8]))
    measure = options.get("measure", "count")
    measures = () if measure == "count" else (measure,)
    path = folder / "counts.zarr"
    cube = extract(encoder, sequences, thresholds=THRESHOLDS, path=path, measures=measures).dataset
    features = feature_table(cube)
    codes = np.array([0 if sequence.condition == "a" else 1 for sequence in sequences])
    tables = SimpleNamespace(**fake_tables(features, tested))
    contrasts = [
        SimpleNamespace(name="interaction"),
        SimpleNamespace(name="condition", unit="sequence", sides=codes, predictor=None),
    ]
    result = SimpleNamespace(
        study=Study("s", "A title", "Do they differ?", (Condition("a", "one"), Condition("b", "two")), build=print),
        folder=folder,
        contrasts=contrasts,
        analyses=(None, tables),
        material=SimpleNamespace(sequences=sequences),
        histograms=np.stack([token_histograms(cube, features, threshold, codes) for threshold in THRESHOLDS]),
        record=SimpleNamespace(
            options=Options(**{"measure": "count", "threshold": THRESHOLDS, "batch_tokens": 64, **options}),
            model=SimpleNamespace(id="tiny"),
        ),
    )
    return write_run_browser(result, cube, encoder), sequences, cube


def data_of(path: Path) -> dict[str, Any]:
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8")).group(1))


def test_a_measure_without_threshold_is_shown_once_with_its_own_means(tmp_path: Path) -> None:
    path, sequences, cube = written(tmp_path, tested=THRESHOLDS[:1], measure="entropy", keys="words")
    data = data_of(path)
    assert [table["threshold"] for table in data["tables"]] == [THRESHOLDS[0]]
    assert (data["measure"], data["effect"]["name"], data["effect"]["symbol"]) == ("entropy", "difference", "g")
    assert "that of the whole row" in data["note"]
    identifiers = [sequence.identifier for sequence in sequences]
    means = unit_means(cube, feature_table(cube), THRESHOLDS[0], "entropy")
    for feature, examples in enumerate(data["examples"]):
        for row, shown, _ in examples:
            place = identifiers.index(data["sequences"][row]["id"])
            np.testing.assert_allclose(shown, [means[place, feature]], rtol=1e-3)


def test_the_counts_shown_average_to_the_cubes_means(tmp_path: Path) -> None:
    path, sequences, cube = written(tmp_path)
    assert path == tmp_path / "heads.html"
    assert "<h1>A title</h1>" in path.read_text(encoding="utf-8")
    data = data_of(path)
    assert data["note"] == ""
    features = feature_table(cube)
    identifiers = [sequence.identifier for sequence in sequences]
    means = np.stack([unit_means(cube, features, threshold) for threshold in THRESHOLDS])
    for feature, blob in enumerate(data["attention"]):
        raw = zlib.decompress(base64.b64decode(blob))
        for row, shown, _ in data["examples"][feature]:
            place = identifiers.index(data["sequences"][row]["id"])
            n = len(sequences[place].token_ids)
            counts = np.frombuffer(raw[n * n + 2 * n : n * n + 6 * n], "<u2").reshape(n, 2)
            raw = raw[n * n + 6 * n :]
            np.testing.assert_allclose(shown, means[:, place, feature], rtol=1e-3)
            # another batch may move one count that lies on the threshold
            np.testing.assert_allclose(counts.mean(axis=0), means[:, place, feature], atol=1.01 / n)
        assert raw == b""
    assert len(data["attention"]) == len(features) == 12
