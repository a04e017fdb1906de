"""Small forward passes that tell which attention sites a model has, and how to reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from metastable.errors import InputError
from metastable.models.capture import (
    ForwardError,
    LayerAttention,
    SinkOfQueriesError,
    Way,
    is_out_of_memory,
    reading,
)
from metastable.models.inputs import is_text_reader, pad_right, probe_inputs
from metastable.models.numbering import layer_numbers, watch_layers
from metastable.models.products import Products
from metastable.models.sites import Site, Stream

__all__ = ["Probe", "probe", "probe_lengths"]

# float32 sums in another order: what may differ between two ways to the same attention.
_TOLERANCE = 1e-4
_HALF_TOLERANCE = 5e-2
# Long rows are compared by what sums them up, in which rounding adds up too.
_LONG_TOLERANCE = 1e-3
_ROW_SUM_TOLERANCE = 1e-3

# Multiplications that one thread does in a moment.
_SMALL = 1 << 32

# Weights that a probe may hold: of all layers where the model returns them, of one within the interface.
_PROBE_BYTES = 1 << 30

_SCALED_BY_LENGTH = frozenset({"dynamic", "longrope"})


@dataclass(frozen=True)
class Probe:
    """What small forward passes tell of a model.

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
        convolution reaches across it, longrope looks at the longest sequence), sequences can be read
        together only if they are of one length.
    values_reason : str
        Why the values that the weights are multiplied with cannot be had; empty where they can.
    needs : tuple of str
        Inputs beside the tokens that the forward pass cannot do without.
    has_sink : bool
        Whether a learned sink takes part in the softmax of a layer.
    """

    sites: tuple[Site, ...]
    way: Way
    reason: str
    pads: bool = True
    values_reason: str = ""
    needs: tuple[str, ...] = ()
    has_sink: bool = False


@dataclass(frozen=True)
class _Attempt:
    """One way tried: the layers that were seen, what speaks against it, and whether the model itself failed.

    `has_sink` says whether a layer is known to have a learned sink.
    """

    layers: tuple[_Layer, ...] = ()
    against: str = ""
    fails: bool = False
    has_sink: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether layers were seen, and nothing speaks against them."""
        return bool(self.layers) and not self.against


@dataclass(frozen=True)
class _Layer:
    """One layer's attention on a probe, its number in the model, and what is wrong with its values."""

    attention: LayerAttention
    number: int | None
    values_reason: str


def probe(model: Any, model_id: str, *, way: Literal["auto", "interface", "eager"] = "auto") -> Probe:
    """Find a model's attention sites with small forward passes, and the way to reach them.

    The interface is taken where the model uses it and where its weights equal those of eager attention on
    the probe; otherwise eager attention with `output_attentions`. A model of text and images is given text
    alone, and images too only if it cannot do without.

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
    with_images = probe_inputs(model)
    needs = tuple(name for name in with_images if not name.endswith(("input_ids", "attention_mask")))
    with _few_threads(model):
        if needs and is_text_reader(model.config):
            found = _probe(model, probe_inputs(model, images=False), way)
            if isinstance(found, Probe):
                return found
        found = _probe(model, with_images, way)
    if isinstance(found, Probe):
        return replace(found, needs=needs)
    if _is_half(model):
        dtype = str(_dtype(model)).removeprefix("torch.")
        raise InputError(
            f"model {model_id!r} cannot be read in {dtype}{found.against}; load it in float32, with --dtype float32"
        )
    what = "cannot be read" if found.fails else "yields no softmax attention"
    raise InputError(f"model {model_id!r} {what}{found.against}; {_remedy(model, fails=found.fails)}")


@contextmanager
def _few_threads(model: Any, n_tokens: int = 9) -> Iterator[None]:
    """Run on one thread where that is enough: over few tokens threads wait for each other more than they compute."""
    before = torch.get_num_threads()
    if n_tokens * sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _remedy(model: Any, *, fails: bool) -> str:
    if model.main_input_name not in ("input_ids", "pixel_values"):
        return f"it reads {model.main_input_name!r}, and not text or an image: give a transformer that does"
    if model.main_input_name == "input_ids" and not is_text_reader(model.config):
        return "it reads text without a vocabulary of tokens: give a transformer that has one"
    if fails:
        return "give a transformer that reads tokens alone, or correct its config.json if that is at fault"
    return "give a transformer whose attention is a softmax over its tokens"


def _probe(
    model: Any, inputs: Mapping[str, torch.Tensor], way: Literal["auto", "interface", "eager"]
) -> Probe | _Attempt:
    """Try both ways; what was found, or what speaks against them."""
    inside = _attempt(model, inputs, "interface")
    eager = _attempt(model, inputs, "eager", sink=inside.has_sink)
    against_inside, against_eager = inside.against, eager.against
    half = _is_half(model)
    if inside.is_sound and eager.is_sound:
        against_inside = _difference(inside.layers, eager.layers, half=half)
    elif inside.is_sound and eager.layers:
        against_inside = _lacking(inside.layers, eager.layers, half=half)
    if half and eager.is_sound:
        against_eager = f"its own softmax runs in {_dtype(model)}"
    if way != "eager" and not against_inside:
        reason = (
            "equal to eager attention on a probe"
            if eager.layers
            else f"eager attention cannot be compared: {against_eager}"
        )
        reason = f"the model uses the attention interface; {reason}"
        return _found(model, inputs, inside.layers, "interface", reason, has_sink=inside.has_sink)
    if way != "interface" and not against_eager:
        reason = "asked for" if way == "eager" else against_inside
        return _found(model, inputs, eager.layers, "eager", reason, has_sink=inside.has_sink)
    against = {"interface": against_inside, "eager": against_eager}.get(way)
    if against:
        return _Attempt(against=f" by the way {way!r}: {against}")
    both = ", and ".join(dict.fromkeys((against_inside, against_eager)))
    return _Attempt(against=f": {both}", fails=eager.fails)


def _found(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    layers: tuple[_Layer, ...],
    way: Way,
    reason: str,
    *,
    has_sink: bool,
) -> Probe:
    return Probe(
        sites=_sites(layers),
        way=way,
        reason=reason,
        pads=not _reads_by_the_longest(model.config) and _survives_padding(model, inputs, way, layers),
        values_reason=next((layer.values_reason for layer in layers if layer.values_reason), ""),
        has_sink=has_sink,
    )


def _reads_by_the_longest(config: Any) -> bool:
    """Whether how a sequence is read depends on the longest of its batch, even if a probe may not see it.

    Some rotary positions are scaled by it, and an indexer that keeps a number of keys breaks its ties by it.
    """
    text = config.get_text_config()
    if getattr(text, "index_topk", None) is not None:
        return True
    parameters = getattr(text, "rope_parameters", None) or {}
    kinds = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    return any(kind.get("rope_type") in _SCALED_BY_LENGTH for kind in kinds)


def _dtype(model: Any) -> torch.dtype:
    dtype: torch.dtype = next(model.parameters()).dtype
    return dtype


def _is_half(model: Any) -> bool:
    return _dtype(model) != torch.float32


def _attempt(model: Any, inputs: Mapping[str, torch.Tensor], way: Way, *, sink: bool = False) -> _Attempt:
    """Read the probe one way; the layers, or what speaks against that way."""
    if way == "interface" and not model._can_set_attn_implementation():
        return _Attempt(against="the model does not use transformers' attention interface")
    found: list[_Layer] = []
    try:
        with reading(model, way) as read, watch_layers(model) as running, _module_inputs(model) as given:

            def take(layer: LayerAttention) -> None:
                trouble = "" if way == "interface" else _trouble_with_values(layer, given)
                number = running.number_of(layer.weights)
                found.append(_Layer(replace(layer, weights=layer.weights.cpu(), values=None), number, trouble))

            read(inputs, take)
    except SinkOfQueriesError as error:
        return _Attempt(against=str(error), has_sink=True)
    except InputError as error:
        return _Attempt(against=str(error), fails=isinstance(error, ForwardError))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _Attempt(against="memory does not hold its attention on a probe")
    if not found:
        silent = {"interface": "the attention interface is never called", "eager": "no weights are returned"}
        return _Attempt(against=silent[way])
    trouble = _not_softmax(found, inputs, half=_is_half(model), sink=sink)
    if not trouble and model.config.is_encoder_decoder:
        seen = {layer.attention.site for layer in found}
        lacking = [site for site in ("encoder", "decoder", "cross") if site not in seen]
        trouble = f"no softmax attention is seen in site {lacking[0]!r}" if lacking else ""
    has_sink = any(layer.attention.has_sink for layer in found)
    return _Attempt(tuple(found), trouble, has_sink=has_sink)


@contextmanager
def _module_inputs(model: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Keep the tensors that every module is given, and that products are made of, while a probe runs."""
    given: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        given.extend(value for value in inputs if isinstance(value, torch.Tensor))

    hooks = [module.register_forward_pre_hook(keep) for module in model.modules()]
    try:
        with Products(multiplied=given):
            yield given
    finally:
        for hook in hooks:
            hook.remove()


def _trouble_with_values(layer: LayerAttention, given: Sequence[torch.Tensor]) -> str:
    """Say why a layer's values are not to be had; empty if its weights times them are what it goes on with."""
    where = f"in site {layer.site!r}, layer {layer.layer + 1}"
    if layer.values is None:
        return f"the product of weights and values is not seen {where}"
    context = torch.matmul(layer.weights, layer.values.float()).transpose(1, 2).flatten()
    goes_on = any(
        tensor.numel() == context.numel()
        and torch.allclose(tensor.flatten().float(), context, atol=_TOLERANCE, rtol=_TOLERANCE)
        for tensor in given
    )
    return "" if goes_on else f"the weights times the values are not what the layer goes on with {where}"


def _survives_padding(
    model: Any, inputs: Mapping[str, torch.Tensor], way: Way, alone: Sequence[_Layer], n_padding: int = 3
) -> bool:
    """Whether the attention of the probe's tokens is the same with padding after them."""
    if "input_ids" not in inputs:
        return True
    together: list[LayerAttention] = []
    try:
        with reading(model, way) as read:
            read(pad_right(inputs, n_padding, model.config), together.append)
    except InputError:
        return False
    tolerance = _HALF_TOLERANCE if _is_half(model) else _TOLERANCE
    return len(together) == len(alone) and all(
        torch.allclose(
            longer.weights[..., : weights.shape[-2], : weights.shape[-1]].cpu(), weights, atol=tolerance, rtol=0
        )
        for longer, weights in zip(together, (layer.attention.weights for layer in alone), strict=True)
    )


def _not_softmax(layers: Sequence[_Layer], inputs: Mapping[str, torch.Tensor], *, half: bool, sink: bool) -> str:
    """Say which layer's weights are no softmax over tokens; empty if all are."""
    n_tokens = inputs["input_ids"].shape[1] if "input_ids" in inputs else None
    sites = {site.name: site for site in _sites(layers)}
    troubles = (
        _trouble_with_softmax(layer.attention, sites[layer.attention.site], n_tokens, half=half, sink=sink)
        for layer in layers
    )
    return next((trouble for trouble in troubles if trouble), "")


def _trouble_with_softmax(layer: LayerAttention, site: Site, n_tokens: int | None, *, half: bool, sink: bool) -> str:
    weights = layer.weights
    where = f"in site {layer.site!r}, layer {layer.layer + 1}"
    lengths = {"text": n_tokens, "decoder": n_tokens}
    expected = (
        lengths.get(site.queries) or weights.shape[-2],
        lengths.get(site.keys) or weights.shape[-1],
    )
    if weights.ndim != 4 or len(weights) != 1 or weights.shape[-2:] != expected:
        return f"the weights {where} are of shape {tuple(weights.shape)}, not over its tokens"
    mass = weights.sum(dim=-1)
    tolerance = _HALF_TOLERANCE if half else _ROW_SUM_TOLERANCE
    whole = mass <= 1 + tolerance if sink or layer.has_sink else (mass - 1).abs() <= tolerance
    if not bool(whole.all()) or not bool((weights >= 0).all()):
        return f"the weights {where} are no softmax: they do not sum to one, or are negative"
    return ""


def _difference(inside: Sequence[_Layer], eager: Sequence[_Layer], *, half: bool) -> str:
    """Say in which layer two ways to the same attention part; empty if they agree."""
    theirs = {(layer.attention.site, layer.attention.layer): layer.attention.weights for layer in eager}
    ours = {
        (layer.attention.site, layer.attention.layer): _as_returned(
            layer.attention, theirs.get((layer.attention.site, layer.attention.layer)), half=half
        )
        for layer in inside
    }
    return _first_difference(ours, theirs, _HALF_TOLERANCE if half else _TOLERANCE, half=half)


def _as_returned(layer: LayerAttention, returned: torch.Tensor | None, *, half: bool) -> torch.Tensor:
    """Give weights beside a learned sink as the model returns them: some return the softmax without it."""
    tolerance = _HALF_TOLERANCE if half else _ROW_SUM_TOLERANCE
    if returned is None or not layer.has_sink or not bool(((returned.sum(-1) - 1).abs() <= tolerance).all()):
        return layer.weights
    return _normalized(layer.weights)


def _normalized(weights: torch.Tensor) -> torch.Tensor:
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def _lacking(inside: Sequence[_Layer], eager: Sequence[_Layer], *, half: bool) -> str:
    """Say which layer is not among those that eager attention returns, where some of these are no softmax.

    A hybrid may return what its linear attention weighs by beside what its softmax attention does.
    """
    tolerance = _HALF_TOLERANCE if half else _TOLERANCE
    returned = iter(eager)
    for layer in inside:
        ours = layer.attention
        if not any(_is_same(ours, other.attention, tolerance) for other in returned):
            return f"eager attention returns other weights in site {ours.site!r}, layer {ours.layer + 1}"
    return ""


def _is_same(ours: LayerAttention, theirs: LayerAttention, tolerance: float) -> bool:
    return (
        ours.site == theirs.site
        and ours.weights.shape == theirs.weights.shape
        and torch.allclose(ours.weights, theirs.weights, atol=tolerance, rtol=0)
    )


def _first_difference(
    ours: Mapping[tuple[str, int], torch.Tensor],
    theirs: Mapping[tuple[str, int], torch.Tensor],
    tolerance: float,
    *,
    half: bool,
) -> str:
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
        if not torch.allclose(weights, other, atol=tolerance, rtol=0):
            return f"the attention interface and eager attention differ {where}"
    return ""


def _sites(layers: Sequence[_Layer]) -> tuple[Site, ...]:
    names = list(dict.fromkeys(layer.attention.site for layer in layers))
    return tuple(_site(name, [layer for layer in layers if layer.attention.site == name], names) for name in names)


def _site(name: str, layers: list[_Layer], names: list[str]) -> Site:
    own: dict[str, Stream] = {"vision": "vision", "decoder": "decoder"}
    queries = keys = own.get(name, "text")
    if name == "cross":
        queries, keys = ("text", "vision") if "vision" in names else ("decoder", "text")
    n_heads = max(layer.attention.weights.shape[1] for layer in layers)
    return Site(name, len(layers), n_heads, queries, keys, layer_numbers([layer.number for layer in layers]))


def probe_lengths(model: Any, model_id: str, found: Probe, lengths: Sequence[int]) -> Probe:
    """Look again at the lengths that a study has, which the few tokens of `probe` cannot stand for.

    A model may attend in another way to many tokens than to few (block-sparse attention, an indexer that
    keeps some keys), and a short sequence may be read in another way beside a long one (rotary positions that
    are scaled by the longest).

    Parameters
    ----------
    model : transformers.PreTrainedModel
        In evaluation mode.
    model_id : str
        What to call it in an error.
    found : Probe
        What `probe` told of it.
    lengths : sequence of int
        Tokens of the sequences that will be read.

    Returns
    -------
    Probe
        The same; `way` and `pads` may change. Lengths whose weights would not fit into a gigabyte are left as
        they were found.

    Raises
    ------
    InputError
        If the model fails at the longest, or its attention is no softmax over the tokens there.
    """
    sizes = sorted({length for length in lengths if length > 0})
    if not sizes or not any(site.queries != "vision" for site in found.sites):
        return found
    longest = sizes[-1]
    layers_held = sum(site.n_layers for site in found.sites)
    one_layer = 4 * max(site.n_heads for site in found.sites) * longest**2
    if one_layer * (layers_held if found.way == "eager" else 1) > _PROBE_BYTES:
        return found

    def digest(n_tokens: int, way: Way, n_padding: int = 0) -> tuple[dict[tuple[str, int], torch.Tensor], str]:
        inputs = probe_inputs(model, n_tokens, images=bool(found.needs))
        padded = pad_right(inputs, n_padding, model.config)
        with _few_threads(model, n_tokens + n_padding):
            return _digest(model, way, padded, found.sites, n_tokens, sink=found.has_sink)

    try:
        whole, trouble = digest(longest, found.way)
        if trouble:
            raise InputError(
                f"model {model_id!r} cannot be read at {longest} tokens: {trouble}; "
                "give shorter sequences, or another model"
            )
        if found.way == "interface" and one_layer * layers_held <= _PROBE_BYTES:
            found = _checked_way(model_id, found, whole, lambda: digest(longest, "eager"), half=_is_half(model))
        pads = found.pads and all(
            _agree(digest(size, found.way), digest(size, found.way, longest - size), half=_is_half(model))
            for size in {sizes[0], sizes[len(sizes) // 2]} - {longest}
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return found
    return replace(found, pads=pads)


def _checked_way(
    model_id: str,
    found: Probe,
    inside: dict[tuple[str, int], torch.Tensor],
    read_eager: Callable[[], tuple[dict[tuple[str, int], torch.Tensor], str]],
    *,
    half: bool,
) -> Probe:
    """Go over to eager attention where the interface, which equals it on few tokens, does not on many."""
    eager, against = read_eager()
    if against or not eager:
        return found
    differs = _first_difference(inside, eager, _HALF_TOLERANCE if half else _LONG_TOLERANCE, half=half)
    if not differs:
        return found
    if half:
        raise InputError(f"model {model_id!r} cannot be read in half precision: {differs}; load it in float32")
    return replace(found, way="eager", reason=f"{differs} at the length of the sequences")


def _agree(
    alone: tuple[dict[tuple[str, int], torch.Tensor], str],
    padded: tuple[dict[tuple[str, int], torch.Tensor], str],
    *,
    half: bool,
) -> bool:
    tolerance = _HALF_TOLERANCE if half else _LONG_TOLERANCE
    return not alone[1] and not padded[1] and not _first_difference(alone[0], padded[0], tolerance, half=False)


def _digest(
    model: Any, way: Way, inputs: Mapping[str, torch.Tensor], sites: tuple[Site, ...], n_tokens: int, *, sink: bool
) -> tuple[dict[tuple[str, int], torch.Tensor], str]:
    """Read one sequence and keep what sums its rows up, a layer at a time; or say what is wrong with them.

    Of each row: its largest weight, the sum of the squares, and where in the text its mass lies.
    """
    by_name = {site.name: site for site in sites}
    kept: dict[tuple[str, int], torch.Tensor] = {}
    troubles: list[str] = []
    half = _is_half(model)

    def take(layer: LayerAttention) -> None:
        site = by_name.get(layer.site)
        if site is None or layer.weights.ndim != 4:
            troubles.append(f"the attention in site {layer.site!r} is not that of fewer tokens")
            return
        width = {"vision": None}
        weights = layer.weights[:, :, : width.get(site.queries, n_tokens), : width.get(site.keys, n_tokens)]
        trouble = _trouble_with_softmax(replace(layer, weights=weights), site, n_tokens, half=half, sink=sink)
        if trouble:
            troubles.append(trouble)
        if sink:
            # Some models return the softmax without its sink.
            weights = _normalized(weights)
        place = torch.linspace(0, 1, weights.shape[-1], device=weights.device)
        summed = (weights.amax(-1), weights.square().sum(-1), weights @ place)
        kept[layer.site, layer.layer] = torch.stack(summed, dim=-1).cpu()

    try:
        with reading(model, way) as read:
            read(inputs, take)
    except InputError as error:
        return kept, str(error)
    return kept, troubles[0] if troubles else ""
