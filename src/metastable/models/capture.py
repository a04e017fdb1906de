"""How a model's attention is reached: inside the layer, one layer of one batch at a time.

A function registered with transformers' attention interface computes the float32 softmax and hands the weights to
whoever listens, or lets the listener attend in its place, and returns the layer's output alone, so the weights of a
layer are gone before the next layer's are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch

from metastable.errors import InputError
from metastable.models.devices import input_device
from metastable.models.eager import eager_layers
from metastable.models.fresh import keep_state
from metastable.models.inputs import accepts, is_text_reader, text_alone
from metastable.models.linear_layers import multiplying
from metastable.models.products import Products

__all__ = [
    "INTERFACE_NAME",
    "Attending",
    "ForwardError",
    "LayerAttention",
    "Scores",
    "SinkOfQueriesError",
    "accepts",
    "attend_inside",
    "is_out_of_memory",
    "reading",
    "site_name",
]

INTERFACE_NAME = "metastable"
"""Name under which the attention and the mask function are registered with transformers."""


@dataclass(frozen=True)
class LayerAttention:
    """One layer's attention of one batch.

    Attributes
    ----------
    site : str
        Name of the site.
    layer : int
        Position of the layer in its site, from 0.
    weights : torch.Tensor
        (batch, heads, queries, keys) float32; rows sum to 1, or to less where a learned sink takes part in the
        softmax, and keys that a query does not see weigh 0.
    values : torch.Tensor or None
        (batch, heads, keys, size): what the weights are multiplied with. None where the model multiplies them
        in a way that is not seen from outside.
    has_sink : bool
        Whether a learned sink is known to take part in the softmax; of weights that a model returns it is not.
    """

    site: str
    layer: int
    weights: torch.Tensor
    values: torch.Tensor | None = None
    has_sink: bool = False


class ForwardError(InputError):
    """A model's own code failed on what it was given to read."""


class SinkOfQueriesError(InputError):
    """A layer has a learned sink whose score depends on the query: its weights are read as the model returns them."""


Way = Literal["interface", "eager"]


class Scores(NamedTuple):
    """What a layer's attention is made of.

    Attributes
    ----------
    query : torch.Tensor
        (batch, heads, queries, size).
    key, value : torch.Tensor
        (batch, key heads, keys, size); the heads are a multiple of the key heads.
    mask : torch.Tensor or None
        Boolean (True: visible) or additive, broadcastable to (batch, heads, queries, keys).
    scaling : float or None
        Factor of the products; by default one over the square root of the query's size.
    softcap : float or None
        Products s become softcap * tanh(s / softcap) before bias and mask.
    bias : torch.Tensor or None
        Added to the products: a position bias.
    sinks : torch.Tensor or None
        (heads,) score of each head's learned sink, which takes part in the softmax and is no key.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    scaling: float | None
    softcap: float | None
    bias: torch.Tensor | None
    sinks: torch.Tensor | None = None

    def to(self, device: torch.device) -> Scores:
        """Bring all tensors to one device; the layers of a model that is spread are on several."""
        values: dict[str, Any] = self._asdict()
        tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
        return Scores(**values | {name: value.to(device) for name, value in tensors.items()})


@runtime_checkable
class Attending(Protocol):
    """A listener that attends in the layer's place, so that the layer's weights never exist as a whole."""

    def attend(self, scores: Scores, site: str, layer: int) -> torch.Tensor:
        """Return the layer's output, (batch, queries, heads, size), having taken what it wants of the rows."""


Listener = Callable[[LayerAttention], None] | Attending
Read = Callable[[Mapping[str, torch.Tensor], Listener], None]


_attend: ContextVar[Callable[[torch.nn.Module, Scores], torch.Tensor] | None] = ContextVar(
    "metastable_attend", default=None
)


def attend_inside(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,  # noqa: ARG001 - the interface passes it; extraction runs without dropout
    scaling: float | None = None,
    softcap: float | None = None,
    position_bias: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    **kwargs: Any,  # noqa: ARG001 - what other implementations take
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' eager functions do, with a float32 softmax that is listened to.

    Parameters
    ----------
    module : torch.nn.Module
        The attention layer.
    query : torch.Tensor
        (batch, heads, queries, size).
    key, value : torch.Tensor
        (batch, key heads, keys, size); the heads are a multiple of the key heads.
    attention_mask : torch.Tensor or None
        Boolean (True: visible) or additive, broadcastable to (batch, heads, queries, keys).
    scaling, softcap, position_bias, s_aux
        As the models give them; the last are the scores of learned sinks.

    Returns
    -------
    output : torch.Tensor
        (batch, queries, heads, size).
    weights : None
        Always: they are counted here and dropped.

    Raises
    ------
    SinkOfQueriesError
        If the layer's learned sink has a score of its own for each query (`sinks`).
    """
    if sinks is not None:
        raise SinkOfQueriesError("the attention has a learned sink in its softmax that depends on the query")
    if attention_mask is not None:
        attention_mask = attention_mask[..., : key.shape[2]]
    of_heads = None if s_aux is None else s_aux.detach().flatten()
    scores = Scores(query, key, value, attention_mask, scaling, softcap, position_bias, of_heads)
    attend = _attend.get()
    if attend is None:
        raise RuntimeError(f"attention implementation {INTERFACE_NAME!r} runs within `reading` alone")
    return attend(module, scores), None


def _weigh(scores: Scores, listener: Callable[[torch.Tensor, torch.Tensor], None]) -> torch.Tensor:
    """Attend with all weights of the layer at once, which the listener gets with the values."""
    query, key, value, mask, scaling, softcap, bias, sinks = scores
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    products = torch.matmul(query, key.transpose(-1, -2)).float()
    products *= query.shape[-1] ** -0.5 if scaling is None else scaling
    if softcap is not None:
        products.div_(softcap).tanh_().mul_(softcap)
    if bias is not None:
        products += bias
    if mask is not None:
        if mask.dtype == torch.bool:
            # Not -inf: a row of padding that sees nothing must not become NaN.
            products.masked_fill_(~mask, torch.finfo(torch.float32).min)
        else:
            products += mask
    if sinks is not None:
        products = torch.cat([products, sinks.float()[:, None, None].expand(*products.shape[:-1], 1)], dim=-1)
    weights = torch.softmax(products, dim=-1)[..., : key.shape[2]]
    del products
    listener(weights, value)
    return torch.matmul(weights.to(value.dtype), value).transpose(1, 2).contiguous()


def _visible_mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """Boolean mask of the visible keys; None only where every query sees every key."""
    from transformers.masking_utils import sdpa_mask

    kwargs["allow_is_causal_skip"] = False
    mask: torch.Tensor | None = sdpa_mask(*args, **kwargs)
    return mask


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(INTERFACE_NAME, attend_inside)
    AttentionMaskInterface.register(INTERFACE_NAME, _visible_mask)


@contextmanager
def _implementation(model: Any, name: str) -> Iterator[None]:
    """Run a model with one attention implementation, then give it back as it was."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class _AllRead(Exception):  # noqa: N818
    """Ends a forward pass of which nothing more is wanted."""


@contextmanager
def reading(model: Any, way: Way, *, part: str | None = None, n_layers: int | None = None) -> Iterator[Read]:
    """Make a model's attention readable for as long as the context lasts.

    Each batch is read as by a model that has read nothing before (see `metastable.models.fresh`).

    Parameters
    ----------
    model : transformers.PreTrainedModel
        In evaluation mode.
    way : {"interface", "eager"}
        Inside the layer, or from the weights that an eager forward pass returns. The second holds the
        attention of all layers of a batch at a time.
    part : str, optional
        A tower to run alone: ``"text_model"`` or ``"vision_model"``.
    n_layers : int, optional
        How many layers attend, all sites together. Within the interface the forward pass then ends with the last of
        them, since what the model makes of it is not wanted; but not in a model that computes the attention of one
        module several times, whose last call is not known.

    Yields
    ------
    callable
        ``read(inputs, listener)`` runs one batch in inference mode and calls the listener once a layer. It
        is called with a `LayerAttention`; within the interface it may be an `Attending` instead. What it gets
        is on the device where the model takes its input. Raises
        `ForwardError` where the model's own code fails; that memory ran out, and what the listener raises,
        goes through as it is.
    """
    network = model if part is None else getattr(model, part)
    options: dict[str, Any] = {"return_dict": True}
    if accepts(network, "use_cache"):
        options["use_cache"] = False
    names = {module: name for name, module in model.named_modules()}

    def run(inputs: Mapping[str, torch.Tensor], **more: Any) -> Any:
        with torch.inference_mode(), multiplying(input_device(network), network.dtype):
            return network(**text_alone(network, inputs), **options, **more)

    def read_eager(inputs: Mapping[str, torch.Tensor], listener: Listener) -> None:
        if isinstance(listener, Attending):
            raise TypeError("the eager way gives weights, and no place to attend in")
        with Products() as products, _forward_errors():
            layers = list(eager_layers(run(inputs, output_attentions=True), model.config, part))
        with torch.inference_mode():
            home = torch.device(input_device(network))
            for site, layer, weights in layers:
                values = products.values_of(weights)
                values = None if values is None else values.to(home)
                listener(LayerAttention(site, layer, weights.float().to(home), values))

    def read_inside(inputs: Mapping[str, torch.Tensor], listener: Listener) -> None:
        seen: dict[str, int] = {}
        modules: set[torch.nn.Module] = set()
        home = torch.device(input_device(network))

        def attend(module: torch.nn.Module, scores: Scores) -> torch.Tensor:
            site = site_name(names.get(module, ""), model.config)
            layer = seen.get(site, 0)
            seen[site] = layer + 1
            modules.add(module)

            if isinstance(listener, Attending):
                with _listener_errors():
                    attended = listener.attend(scores.to(home), site, layer).to(scores.query.device)
            else:
                told = listener

                def tell(weights: torch.Tensor, values: torch.Tensor) -> None:
                    with _listener_errors():
                        told(LayerAttention(site, layer, weights.to(home), values.to(home), scores.sinks is not None))

                attended = _weigh(scores, tell)
            if len(modules) == sum(seen.values()) == n_layers:
                raise _AllRead
            return attended

        token = _attend.set(attend)
        try:
            with _forward_errors(), suppress(_AllRead):
                run(inputs)
        finally:
            _attend.reset(token)

    read_batch = read_eager if way == "eager" else read_inside
    if way == "interface":
        _register()
    with _implementation(model, "eager" if way == "eager" else INTERFACE_NAME):
        restore = keep_state(model)

        def read(inputs: Mapping[str, torch.Tensor], listener: Listener) -> None:
            try:
                read_batch(inputs, listener)
            finally:
                restore()

        yield read


class _ListenerError(Exception):
    """Carries what a listener raised through the model's forward pass."""


@contextmanager
def _listener_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _ListenerError from error


@contextmanager
def _forward_errors() -> Iterator[None]:
    """Say in one sentence that a model's own code failed, whatever it raises."""
    try:
        yield
    except _ListenerError as error:
        raise (error.__cause__ or error) from None
    except InputError:
        raise
    except Exception as error:  # a model's code may raise anything
        if is_out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:150].rstrip(".")
        raise ForwardError(f"its forward pass fails ({type(error).__name__}: {said})") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on an accelerator or in the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


_CROSS = ("crossattention", "cross_attn", "encoder_attn", "encdecattention")


def site_name(path: str, config: Any) -> str:
    """Name the site of an attention layer from its path in the model."""
    lowered = path.lower()
    if any(part in lowered for part in _CROSS):
        return "cross"
    if config.is_encoder_decoder:
        return "decoder" if lowered.split(".")[0] == "decoder" else "encoder"
    if hasattr(config, "vision_config") and hasattr(config, "text_config"):
        return "vision" if "vision" in lowered or "visual" in lowered else "text"
    return "self" if is_text_reader(config) else "vision"
