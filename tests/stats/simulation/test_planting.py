from __future__ import annotations

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats.simulation.planting import check_share, family_codes, plant_effects


def test_every_family_carries_its_share_in_both_directions():
    rng = np.random.default_rng(1)
    families = np.repeat([0, 1, 2], [40, 20, 3])
    eligible = np.arange(63) != 62
    signs = np.array([plant_effects(eligible, families, 0.1, rng) for _ in range(400)])
    counts = [np.unique((signs[:, families == f] != 0).sum(axis=1)).tolist() for f in range(3)]
    assert counts == [[4], [2], [1]]
    assert (signs[:, 62] == 0).all()
    assert set(np.unique(signs)) == {-1.0, 0.0, 1.0}
    # Every feature has a direction of its own.
    assert (np.abs(signs[:, families == 0].sum(axis=1)) < 4).mean() > 0.6
    # Every eligible feature is chosen at times, and neither direction is preferred.
    assert (signs[:, :62] != 0).any(axis=0).all()
    assert abs(signs.sum()) < 4 * np.sqrt((signs != 0).sum())


def test_families_are_numbered():
    np.testing.assert_array_equal(family_codes(["text", "image", "text"], 3), [1, 0, 1])
    np.testing.assert_array_equal(family_codes(None, 2), [0, 0])
    with pytest.raises(InputError, match="family has shape"):
        family_codes([1, 2], 3)


@pytest.mark.parametrize("share", [0.0, 1.01, 2, np.nan])
def test_more_than_all_features_cannot_carry_an_effect(share):
    check_share(1)
    with pytest.raises(InputError, match="above 0 and at most 1"):
        check_share(share)
