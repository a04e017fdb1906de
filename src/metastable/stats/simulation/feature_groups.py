"""Groups of features that are tested as one: the model, families, layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.stats.hierarchical import hierarchical_test
from metastable.stats.labels import label_codes
from metastable.stats.permutations.permutation import PermutationResult

__all__ = ["FeatureGroups", "feature_groups"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class FeatureGroups:
    """Features by family and layer.

    Attributes
    ----------
    families : ndarray of int, shape (n_features,)
        Codes from 0.
    layers : ndarray of int, shape (n_features,), or None
        Codes from 0, those of different families told apart.
    masks : dict of str to ndarray of bool, shape (n_groups, n_features)
        The groups of each scope: "model", "family" where there are several, "layer" where layers are given.
    """

    families: Ints
    layers: Ints | None
    masks: dict[str, Bools]

    @property
    def named(self) -> dict[str, Bools]:
        """Every group as `permutation_test` takes it."""
        return {f"{scope} {k}": mask for scope, masks in self.masks.items() for k, mask in enumerate(masks)}

    def omnibus(self, result: PermutationResult, scope: str, which: str) -> Floats:
        """P-values of the groups of one scope; `which` is an attribute of `OmnibusResult`."""
        found = [getattr(result.omnibus[f"{scope} {k}"], which) for k in range(len(self.masks[scope]))]
        return np.array(found, dtype=np.float64)

    def layers_first(self, result: PermutationResult, alpha: float) -> Floats:
        """P-values after the layers' omnibus tests, as `metastable.stats.analysis` has them; needs layers."""
        if self.layers is None:
            raise TypeError("layers first needs layers")
        of_layer = self.omnibus(result, "layer", "p_sum_squares")[self.layers]
        found = hierarchical_test(result.p_perm, self.layers, group_p=of_layer, family=self.families, alpha=alpha)
        return found.adjusted


def feature_groups(families: Ints, layer: ArrayLike | None) -> FeatureGroups:
    """Group features by family and by layer within a family.

    Parameters
    ----------
    families : ndarray of int, shape (n_features,)
        Codes from 0.
    layer : array_like, shape (n_features,), or None
        Label of each feature's layer.

    Returns
    -------
    FeatureGroups

    Raises
    ------
    InputError
        If the shape of `layer` does not fit.
    """
    codes = {"model": np.zeros_like(families)}
    if families.max() > 0:
        codes["family"] = families
    layers: Ints | None = None
    if layer is not None:
        keys = np.column_stack([families, label_codes("layer", layer, len(families), each="feature")])
        layers = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)
        codes["layer"] = layers
    masks = {scope: of[None, :] == np.arange(of.max() + 1)[:, None] for scope, of in codes.items()}
    return FeatureGroups(families, layers, masks)
