"""The browser of a run shows the run's own cube."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from metastable.browser import write_run_browser
from metastable.cube import feature_table, token_histograms, unit_means
from metastable.encoders import wrap_model
from metastable.extraction import extract
from metastable.study import Condition, Study
from tests.browser.fakes import fake_tables
from tests.extraction.oracle import text_sequences
from tests.extraction.tiny_models import tiny_model

THRESHOLDS = (0.9, 0.5)


def test_the_counts_shown_average_to_the_cubes_means(tmp_path: Path) -> None:
    encoder = wrap_model(tiny_model("bert"))
    sequences = tuple(text_sequences([9, 12, 7, 10, 12, 8]))
    cube = extract(encoder, sequences, thresholds=THRESHOLDS, path=tmp_path / "counts.zarr").dataset
    features = feature_table(cube)
    codes = np.array([0 if sequence.condition == "a" else 1 for sequence in sequences])
    tables = SimpleNamespace(**fake_tables(features, THRESHOLDS))
    contrasts = [SimpleNamespace(name="interaction"), SimpleNamespace(name="condition", unit="sequence", sides=codes)]
    result = SimpleNamespace(
        study=Study("s", "A title", "Do they differ?", (Condition("a", "one"), Condition("b", "two")), build=print),
        folder=tmp_path,
        contrasts=contrasts,
        analyses=(None, tables),
        material=SimpleNamespace(sequences=sequences),
        histograms=np.stack([token_histograms(cube, features, threshold, codes) for threshold in THRESHOLDS]),
        recipe={"options": {"threshold": list(THRESHOLDS), "alpha": 0.05, "batch_tokens": 64}, "model": {"id": "tiny"}},
    )
    path = write_run_browser(result, cube, encoder)
    assert path == tmp_path / "heads.html"
    text = path.read_text(encoding="utf-8")
    assert "<h1>A title</h1>" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text).group(1))
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
