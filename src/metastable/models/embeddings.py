"""What a model has for each token before any layer: its input embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["input_embeddings"]


def input_embeddings(model: torch.nn.Module, token_ids: NDArray[np.intp]) -> NDArray[np.float32] | None:
    """Return the rows of a model's matrix of input embeddings.

    Parameters
    ----------
    model : torch.nn.Module
        As transformers loads it.
    token_ids : ndarray of int, shape (n,)
        Which rows.

    Returns
    -------
    ndarray of float32, shape (n, n_dimensions), or None
        None where the model has no such matrix, it has no row for a token, or its weights are not in memory.
    """
    find = getattr(model, "get_input_embeddings", None)
    if find is None:
        return None
    try:
        weight = getattr(find(), "weight", None)
    except NotImplementedError:
        # what transformers says of a model whose input is no token
        return None
    if weight is None or weight.ndim != 2 or weight.is_meta:
        return None
    if len(token_ids) and int(token_ids.max()) >= len(weight):
        return None
    rows = weight.detach()[token_ids.tolist()]
    return np.asarray(rows.float().cpu().numpy(), dtype=np.float32)
