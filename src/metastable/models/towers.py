"""Which part of a model of text and images reads text alone."""

from __future__ import annotations

from typing import Any

from metastable.models.inputs import accepts

__all__ = ["leave_decoder_out", "lone_text_tower", "text_tower"]


def text_tower(model: Any) -> Any:
    """Find the part of a model that reads text alone, where the rest of it only feeds that part.

    A language model that is given images (Gemma 3, LLaVA, Llama 4) reads them as tokens among those of the
    text; with text alone it is the language model that it was made from.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any base model.

    Returns
    -------
    transformers.PreTrainedModel
        The language model within; the model itself where there is none, or where the towers of text and
        images stand side by side as in CLIP.
    """
    from transformers import PreTrainedModel

    tower = getattr(model, "language_model", None)
    # What runs on the embeddings of text and images together takes such embeddings.
    if tower is None and (accepts(model, "inputs_embeds") or not hasattr(model, "vision_model")):
        tower = getattr(model, "text_model", None)
    return tower.base_model if isinstance(tower, PreTrainedModel) else model


def lone_text_tower(model: Any) -> Any:
    """Find the tower that reads text beside one that sees, to be read alone where the whole model cannot be.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any base model.

    Returns
    -------
    transformers.PreTrainedModel or None
        None where there is none, or it is no model of its own.
    """
    from transformers import PreTrainedModel

    tower = getattr(model, "text_model", None)
    return tower if isinstance(tower, PreTrainedModel) and accepts(tower, "input_ids") else None


def leave_decoder_out(model: Any) -> None:
    """Have a model's configuration say that it has no decoder, where its forward pass takes no input of one.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The encoder of UMT5 alone says otherwise, and is changed; any other is left as it is.
    """
    if model.config.is_encoder_decoder and not accepts(model, "decoder_input_ids"):
        model.config.is_encoder_decoder = False
