"""What a model is given: small inputs made for it, and what stands where there is nothing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from metastable.models.devices import input_device

__all__ = ["accepts", "fill_id", "is_text_reader", "pad_right", "probe_inputs", "text_alone"]

# Vocabularies begin with their special tokens; and of the others a few thousand do.
_OFTEN_SPECIAL = 5
_DRAWN = 5000


def accepts(model: Any, argument: str) -> bool:
    """Whether a model's forward pass takes an argument."""
    return argument in inspect.signature(model.forward).parameters


def is_text_reader(config: Any) -> bool:
    """Whether a model has a vocabulary."""
    return getattr(config.get_text_config(), "vocab_size", None) is not None


def fill_id(config: Any, pad_id: int | None = None) -> int:
    """Choose the id that fills a batch up: the padding token, if the model has an embedding for it.

    Which one it is does not matter, since padding is masked, but a tokenizer may have been given a padding
    token for which its model has no embedding.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
        The model's configuration.
    pad_id : int, optional
        The tokenizer's padding token.

    Returns
    -------
    int
        The first of the tokenizer's, the model's and 0 that lies in the vocabulary.
    """
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    candidates = (pad_id, getattr(text, "pad_token_id", None), 0)
    return next(
        int(token) for token in candidates if token is not None and (vocabulary is None or 0 <= token < vocabulary)
    )


def probe_inputs(model: Any, n_tokens: int = 6, *, images: bool = True) -> dict[str, torch.Tensor]:
    """Make a small input that a model accepts: a few ordinary tokens, and random images or features.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any model.
    n_tokens : int
        Tokens of the text.
    images : bool
        Whether a model that takes images or features of images gets them.

    Returns
    -------
    dict of str to torch.Tensor
        On the model's device.
    """
    config = model.config
    device, dtype = input_device(model), next(model.parameters()).dtype
    generator = torch.Generator().manual_seed(0)
    inputs: dict[str, torch.Tensor] = {}
    if is_text_reader(config):
        ids = _ordinary_ids(config, n_tokens, generator).to(device)
        inputs["input_ids"] = ids
        inputs["attention_mask"] = torch.ones_like(ids)
        if config.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids
            inputs["decoder_attention_mask"] = torch.ones_like(ids)
    if images and accepts(model, "visual_feats"):
        inputs["visual_feats"] = torch.randn(1, 4, config.visual_feat_dim, generator=generator).to(device, dtype)
        inputs["visual_pos"] = torch.rand(1, 4, config.visual_pos_dim, generator=generator).to(device, dtype)
    size = _image_size(config)
    if images and size is not None and accepts(model, "pixel_values"):
        inputs["pixel_values"] = torch.randn(1, *size, generator=generator).to(device, dtype)
    return inputs


def pad_right(inputs: Mapping[str, torch.Tensor], n_padding: int, config: Any) -> dict[str, torch.Tensor]:
    """Put masked tokens after those of a probe's input; what is no text stays as it is."""
    fill = fill_id(config)
    fills = {"input_ids": fill, "decoder_input_ids": fill, "attention_mask": 0, "decoder_attention_mask": 0}
    return {
        name: torch.nn.functional.pad(values, (0, n_padding), value=fills[name]) if name in fills else values
        for name, values in inputs.items()
    }


def text_alone(model: Any, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Give a model that joins text and image, as ViLT does, an image without patches where it has none.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any model.
    inputs : mapping of str to torch.Tensor
        What its forward pass is to take.

    Returns
    -------
    mapping of str to torch.Tensor
        The same, but for models that take embedded patches in place of pixels and get neither.
    """
    joins = all(accepts(model, name) for name in ("pixel_values", "pixel_mask", "image_embeds"))
    if not joins or "input_ids" not in inputs or "pixel_values" in inputs or "image_embeds" in inputs:
        return inputs
    ids, embedding = inputs["input_ids"], model.get_input_embeddings().weight
    return {
        **inputs,
        "image_embeds": embedding.new_zeros(len(ids), 0, embedding.shape[1]),
        "pixel_mask": ids.new_zeros(len(ids), 0),
    }


def _ordinary_ids(config: Any, n_tokens: int, generator: torch.Generator) -> torch.Tensor:
    """Draw tokens that have no meaning of their own to the model, such as padding or the place of an image."""
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None) or 128
    special = {
        value
        for part in (config, text)
        for name, value in part.to_dict().items()
        if name.endswith(("token_id", "token_index")) and isinstance(value, int)
    }
    known = range(min(vocabulary, _DRAWN))
    ids = [token for token in known[_OFTEN_SPECIAL:] if token not in special] or list(known)
    return torch.tensor(ids)[torch.randint(len(ids), (1, n_tokens), generator=generator)]


def _image_size(config: Any) -> tuple[int, int, int] | None:
    """Channels, height and width of the images that a model sees; None where its configuration names no size."""
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", None)
    if size is None:
        return None
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return getattr(vision, "num_channels", 3), height, width
