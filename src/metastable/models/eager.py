"""The second way to a model's attention: the weights that an eager forward pass returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from metastable.errors import InputError
from metastable.models.inputs import is_text_reader

__all__ = ["eager_layers"]

_SITES = {
    # field of the model's output: site
    "language_attentions": "language",
    "vision_attentions": "vision",
    "cross_encoder_attentions": "cross",
    "encoder_attentions": "encoder",
    "decoder_attentions": "decoder",
    "cross_attentions": "cross",
    "attentions": "self",
}

_TOWERS = {"vision_model": "vision", "text_model": "text"}


def eager_layers(output: Any, config: Any, part: str | None = None) -> Iterator[tuple[str, int, torch.Tensor]]:
    """List the attention weights in a model's output, layer by layer.

    Parameters
    ----------
    output : transformers.ModelOutput
        Of a forward pass with ``output_attentions=True``.
    config : transformers.PreTrainedConfig
        The whole model's configuration.
    part : str, optional
        The tower that ran alone: ``"text_model"`` or ``"vision_model"``.

    Yields
    ------
    site : str
        Name of the site.
    layer : int
        Its position in the site, from 0.
    weights : torch.Tensor
        (batch, heads, queries, keys), as the model's own softmax gave them.

    Raises
    ------
    InputError
        If a layer's weights are no tensor (PEGASUS-X gives those of its global and its local attention apart).
    """
    if part is not None:
        yield from _number(_TOWERS[part], output.get("attentions"))
        return
    for tower, site in _TOWERS.items():
        nested = output.get(f"{tower}_output")
        if nested is not None:
            yield from _number(site, nested.get("attentions"))
    reads_text = is_text_reader(config)
    for name, site in _SITES.items():
        yield from _number(site if reads_text or site != "self" else "vision", output.get(name))


def _number(site: str, layers: Any) -> Iterator[tuple[str, int, torch.Tensor]]:
    given = [weights for weights in layers or () if weights is not None]
    for layer, weights in enumerate(given):
        if not isinstance(weights, torch.Tensor):
            raise InputError(
                f"the weights in site {site!r}, layer {layer + 1} are given in pieces, not over its tokens"
            )
        yield site, layer, weights
