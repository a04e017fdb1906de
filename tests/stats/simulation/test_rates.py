"""What is counted of a data set whose truth is known, by hand; and the level that each correction promises."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from metastable.stats.simulation.error_rates import PROMISES, group_rates, rate_table, rates
from metastable.stats.simulation.feature_groups import feature_groups


def test_rates_are_means_over_families_and_over_features():
    families = np.repeat([0, 1, 2], [4, 2, 3])
    called = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0], dtype=bool)
    planted = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0], dtype=bool)
    found = rates(called, planted, families)
    # families: one false of three called, one of one, none called
    expected = {"fwer": 2 / 3, "false_positive_rate": 2 / 6, "fdr": (1 / 3 + 1 + 0) / 3, "power": 2 / 3}
    assert found == pytest.approx(expected)
    assert set(rates(called, np.zeros(9, dtype=bool), families)) == {"fwer", "false_positive_rate"}
    assert set(rates(called, np.ones(9, dtype=bool), families)) == {"fwer", "fdr", "power"}
    assert group_rates(called, planted) == pytest.approx({"false_positive_rate": 2 / 6, "power": 2 / 3})


def test_each_correction_promises_what_its_paper_says():
    """Of false positives only no correction; without any effect all bound the families with one; else by their kind."""
    of_kind = {
        "none": "p", "bh": "d", "by": "d", "tsbh": "d", "storey": "d", "holm": "fd", "max-t": "fd",
        "max-t-stepdown": "fd", "layers-first": "",
    }  # fmt: skip
    keys = [
        ("test", correction, scenario, measure)
        for correction in PROMISES
        for scenario in ("null", "planted")
        for measure in ("false_positive_rate", "fwer", "fdr", "power")
    ]
    table = rate_table(
        {key: [0.0, 1.0, 0.0, 0.0, 0.0] for key in keys[::-1]},
        tests=["test"], corrections=tuple(PROMISES), alpha=0.1, confidence=0.8,
    )  # fmt: skip
    assert list(table[["test", "correction", "scenario", "measure"]].itertuples(index=False, name=None)) == keys
    for (_, correction, scenario, measure), nominal in zip(keys, table["nominal"], strict=True):
        promised = {
            "false_positive_rate": "p" in of_kind[correction],
            "fwer": "f" in of_kind[correction] or (scenario == "null" and correction != "none"),
            "fdr": "d" in of_kind[correction],
            "power": False,
        }[measure]
        assert nominal == 0.1 if promised else np.isnan(nominal), (correction, scenario, measure)
    low, high = proportion_confint(1, 5, alpha=0.2, method="beta")
    np.testing.assert_allclose(table[["estimate", "low", "high"]], np.tile([0.2, low, high], (len(keys), 1)))


def test_features_are_grouped_by_family_and_by_layer_within_it():
    families, layer = np.array([0, 1, 0, 1, 0]), np.array([7, 7, 7, 9, 9])
    groups = feature_groups(families, layer)
    masks = {scope: mask.astype(int).tolist() for scope, mask in groups.masks.items()}
    assert masks == {
        "model": [[1, 1, 1, 1, 1]],
        "family": [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]],
        "layer": [[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]],
    }
    assert list(feature_groups(np.zeros(5, dtype=np.intp), None).masks) == ["model"]
