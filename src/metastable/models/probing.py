"""One small forward pass that tells which attention sites a model has, and how to reach them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from metastable.errors import InputError
from metastable.models.capture import SINK, LayerAttention, Way, accepts, reading
from metastable.models.sites import Site, Stream

__all__ = ["Probe", "probe", "probe_inputs"]

# float32 sums in another order: what may differ between two ways to the same attention.
_TOLERANCE = 1e-4
_HALF_TOLERANCE = 5e-2
# Parameters that one thread goes through in a moment.
_SMALL = 1 << 28


@dataclass(frozen=True)
class Probe:
    """What one small forward pass tells of a model.

    Attributes
    ----------
    sites : tuple of Site
        Its sites in the order in which they are first computed.
    way : {"interface", "eager"}
        How to reach its attention.
    reason : str
        Why.
    pads : bool
        Whether padding leaves the attention of the other tokens as it is. Where it does not (ConvBERT's
        convolution reaches across it), sequences can be read together only if they are of one length.
    """

    sites: tuple[Site, ...]
    way: Way
    reason: str
    pads: bool = True


def probe_inputs(model: Any, n_tokens: int = 6) -> dict[str, torch.Tensor]:
    """Make a small input that a model accepts: a few ordinary tokens, and blank images or features.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any model.
    n_tokens : int
        Tokens of the text.

    Returns
    -------
    dict of str to torch.Tensor
        On the model's device.
    """
    config = model.config
    device = next(model.parameters()).device
    dtype = _dtype(model)
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    inputs: dict[str, torch.Tensor] = {}
    if vocabulary is not None:
        ids = torch.arange(5, 5 + n_tokens, device=device)[None] % vocabulary
        inputs["input_ids"] = ids
        inputs["attention_mask"] = torch.ones_like(ids)
        if config.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids
            inputs["decoder_attention_mask"] = torch.ones_like(ids)
    if accepts(model, "visual_feats"):
        generator = torch.Generator().manual_seed(0)
        inputs["visual_feats"] = torch.randn(1, 4, config.visual_feat_dim, generator=generator).to(device, dtype)
        inputs["visual_pos"] = torch.rand(1, 4, config.visual_pos_dim, generator=generator).to(device, dtype)
    if accepts(model, "pixel_values"):
        vision = getattr(config, "vision_config", config)
        size = vision.image_size
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(1, getattr(vision, "num_channels", 3), height, width, generator=generator)
        inputs["pixel_values"] = pixels.to(device, dtype)
    return inputs


def probe(model: Any, model_id: str, *, way: Literal["auto", "interface", "eager"] = "auto") -> Probe:
    """Find a model's attention sites with one small forward pass, and the way to reach them.

    The interface is taken where the model uses it and where its weights equal those of eager attention on
    the probe; otherwise eager attention with `output_attentions`.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        In evaluation mode.
    model_id : str
        What to call it in an error.
    way : {"auto", "interface", "eager"}
        A way to insist on.

    Returns
    -------
    Probe

    Raises
    ------
    InputError
        If no softmax attention over the model's tokens is found, or not by the way asked for.
    """
    with _few_threads(model):
        return _probe(model, model_id, way)


@contextmanager
def _few_threads(model: Any) -> Iterator[None]:
    """Run on one thread where that is enough: over so few tokens threads wait for each other more than they compute."""
    before = torch.get_num_threads()
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _probe(model: Any, model_id: str, way: Literal["auto", "interface", "eager"]) -> Probe:
    inputs = probe_inputs(model)
    inside, against_inside = _attempt(model, inputs, "interface")
    eager, against_eager = _attempt(model, inputs, "eager", sink=against_inside == SINK)
    half = _dtype(model) != torch.float32
    if inside and eager:
        against_inside = _difference(inside, eager, half=half)
    if half and eager:
        against_eager = f"its own softmax runs in {_dtype(model)} (load it in float32)"
    if way != "eager" and not against_inside:
        reason = (
            "equal to eager attention on a probe" if eager else f"eager attention cannot be compared: {against_eager}"
        )
        pads = _survives_padding(model, inputs, "interface", inside)
        return Probe(_sites(inside), "interface", f"the model uses the attention interface; {reason}", pads)
    if way != "interface" and not against_eager:
        pads = _survives_padding(model, inputs, "eager", eager)
        return Probe(_sites(eager), "eager", "asked for" if way == "eager" else against_inside, pads)
    against = {"interface": against_inside, "eager": against_eager}.get(way)
    raise InputError(
        f"model {model_id!r} yields no softmax attention"
        + (f" by the way {way!r}: {against}" if against else f": {against_inside}, and {against_eager}")
        + "; give a transformer whose attention is a softmax over its tokens"
    )


def _dtype(model: Any) -> torch.dtype:
    dtype: torch.dtype = next(model.parameters()).dtype
    return dtype


def _attempt(
    model: Any, inputs: Mapping[str, torch.Tensor], way: Way, *, sink: bool = False
) -> tuple[list[LayerAttention], str]:
    """Read the probe one way; the layers, or what speaks against that way."""
    if way == "interface" and not model._can_set_attn_implementation():
        return [], "the model does not use transformers' attention interface"
    found: list[LayerAttention] = []
    try:
        with reading(model, way) as read:
            read(inputs, lambda layer: found.append(replace(layer, weights=layer.weights.cpu())))
    except InputError as error:
        return [], str(error)
    except Exception as error:  # a model's code may raise anything, and the other way may do
        said = " ".join(str(error).split())[:150]
        return [], f"the way {way!r} fails on a probe ({type(error).__name__}: {said})"
    if not found:
        silent = {"interface": "the attention interface is never called", "eager": "no weights are returned"}
        return [], silent[way]
    trouble = _not_softmax(found, inputs, half=_dtype(model) != torch.float32, sink=sink)
    if not trouble and model.config.is_encoder_decoder:
        lacking = [site for site in ("encoder", "decoder", "cross") if site not in {layer.site for layer in found}]
        trouble = f"no softmax attention is seen in site {lacking[0]!r}" if lacking else ""
    return ([], trouble) if trouble else (found, "")


def _survives_padding(
    model: Any, inputs: Mapping[str, torch.Tensor], way: Way, alone: list[LayerAttention], n_padding: int = 3
) -> bool:
    """Whether the attention of the probe's tokens is the same with padding after them."""
    if "input_ids" not in inputs:
        return True
    pad = getattr(model.config.get_text_config(), "pad_token_id", None) or 0
    fills = {"input_ids": pad, "decoder_input_ids": pad, "attention_mask": 0, "decoder_attention_mask": 0}
    padded = {
        name: torch.nn.functional.pad(values, (0, n_padding), value=fills[name]) if name in fills else values
        for name, values in inputs.items()
    }
    together: list[LayerAttention] = []
    try:
        with reading(model, way) as read:
            read(padded, together.append)
    except Exception:  # a model's code may raise anything
        return False
    tolerance = _TOLERANCE if _dtype(model) == torch.float32 else _HALF_TOLERANCE
    return len(together) == len(alone) and all(
        torch.allclose(
            longer.weights[..., : layer.weights.shape[-2], : layer.weights.shape[-1]].cpu(),
            layer.weights,
            atol=tolerance,
            rtol=0,
        )
        for longer, layer in zip(together, alone, strict=True)
    )


def _not_softmax(layers: list[LayerAttention], inputs: Mapping[str, torch.Tensor], *, half: bool, sink: bool) -> str:
    """Say which layer's weights are no softmax over tokens; empty if all are."""
    n_tokens = inputs["input_ids"].shape[1] if "input_ids" in inputs else None
    sites = {site.name: site for site in _sites(layers)}
    for layer in layers:
        site, weights = sites[layer.site], layer.weights
        where = f"in site {layer.site!r}, layer {layer.layer + 1}"
        lengths = {"text": n_tokens, "decoder": n_tokens}
        expected = (
            lengths.get(site.queries) or weights.shape[-2],
            lengths.get(site.keys) or weights.shape[-1],
        )
        if weights.ndim != 4 or len(weights) != 1 or weights.shape[-2:] != expected:
            return f"the weights {where} are of shape {tuple(weights.shape)}, not over its tokens"
        mass = weights.sum(dim=-1)
        tolerance = _HALF_TOLERANCE if half else 1e-3
        whole = mass <= 1 + tolerance if sink else (mass - 1).abs() <= tolerance
        if not bool(whole.all()) or not bool((weights >= 0).all()):
            return f"the weights {where} are no softmax: they do not sum to one, or are negative"
    return ""


def _difference(inside: list[LayerAttention], eager: list[LayerAttention], *, half: bool) -> str:
    """Say in which layer two ways to the same attention part; empty if they agree."""
    theirs = {(layer.site, layer.layer): layer.weights for layer in eager}
    ours = {(layer.site, layer.layer): layer.weights for layer in inside}
    if ours.keys() != theirs.keys():
        return "the attention interface and eager attention see different layers"
    for (site, layer), weights in ours.items():
        other = theirs[site, layer]
        where = f"in site {site!r}, layer {layer + 1}"
        if weights.shape != other.shape:
            return f"the attention interface and eager attention have other shapes {where}"
        if half and (layer > 0 or site == "cross"):
            # What rounding does to one layer grows from layer to layer; the first still tells.
            continue
        if not torch.allclose(weights, other, atol=_HALF_TOLERANCE if half else _TOLERANCE, rtol=0):
            return f"the attention interface and eager attention differ {where}"
    return ""


def _sites(layers: list[LayerAttention]) -> tuple[Site, ...]:
    names = list(dict.fromkeys(layer.site for layer in layers))
    return tuple(_site(name, [layer for layer in layers if layer.site == name], names) for name in names)


def _site(name: str, layers: list[LayerAttention], names: list[str]) -> Site:
    own: dict[str, Stream] = {"vision": "vision", "decoder": "decoder"}
    queries = keys = own.get(name, "text")
    if name == "cross":
        queries, keys = ("text", "vision") if "vision" in names else ("decoder", "text")
    return Site(name, len(layers), max(layer.weights.shape[1] for layer in layers), queries, keys)
