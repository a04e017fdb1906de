"""The second way to a model's attention: the weights that an eager forward pass returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from metastable.extraction.sites import Site

__all__ = ["eager_layers"]

_FIELDS: dict[str, tuple[str, str, str]] = {
    # field of the model's output: site, what queries, what is queried
    "language_attentions": ("language", "text", "text"),
    "vision_attentions": ("vision", "vision", "vision"),
    "cross_encoder_attentions": ("cross", "text", "vision"),
    "encoder_attentions": ("encoder", "text", "text"),
    "decoder_attentions": ("decoder", "text", "text"),
    "cross_attentions": ("cross", "text", "text"),
    "attentions": ("self", "text", "text"),
}


def eager_layers(output: Any, config: Any) -> Iterator[tuple[Site, int, torch.Tensor]]:
    """List the attention weights in a model's output, layer by layer.

    Parameters
    ----------
    output : transformers.ModelOutput
        Of a forward pass with ``output_attentions=True``.
    config : transformers.PreTrainedConfig
        The model's configuration.

    Yields
    ------
    site : Site
        Where the layer belongs.
    layer : int
        Its position in the site, from 0.
    weights : torch.Tensor
        (batch, heads, queries, keys), as the model's own softmax gave them.
    """
    for tower, site in (("text_model_output", "text"), ("vision_model_output", "vision")):
        nested = output.get(tower)
        if nested is not None:
            yield from _label(site, site, site, nested.get("attentions"))
    for name, (site, queries, keys) in _FIELDS.items():
        if name == "attentions" and getattr(config.get_text_config(), "vocab_size", None) is None:
            site = queries = keys = "vision"
        yield from _label(site, queries, keys, output.get(name))


def _label(site: str, queries: Any, keys: Any, layers: Any) -> Iterator[tuple[Site, int, torch.Tensor]]:
    given = [weights for weights in layers or () if weights is not None]
    for layer, weights in enumerate(given):
        yield Site(site, len(given), weights.shape[1], queries, keys), layer, weights
