"""The longest text that a model has positions for."""

from __future__ import annotations

from typing import Any

__all__ = ["BLOCK_SPARSE", "UNLIMITED_LENGTH", "attend_in_full", "longest_text", "read_more", "skeleton"]

BLOCK_SPARSE = "block_sparse"
"""`attention_type` of a model that attends to blocks of a long text."""

UNLIMITED_LENGTH = 1_000_000
"""`max_length` of a model without a limit of its own (relative positions)."""


def longest_text(config: Any, model: Any = None) -> int:
    """Count the tokens that a model has positions for, and attends to one by one.

    BigBird as it is configured by default attends to blocks of tokens, some of them chosen at random, where a
    text is longer than eleven blocks, and to all tokens where it is not; only the second is counted.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
        The model's configuration.
    model : torch.nn.Module, optional
        The model, weights or none. Its table of positions may have a row for padding, behind which the
        positions of the text begin, so that fewer tokens fit than the configuration says.

    Returns
    -------
    int
        `UNLIMITED_LENGTH` for a model without a limit of its own.
    """
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    limit = positions if isinstance(positions, int) and positions > 0 else UNLIMITED_LENGTH
    rotary = getattr(text, "rope_parameters", None) or {}
    if rotary.get("rope_type") == "dynamic":
        # Beyond the positions that it was trained with, the model scales them by this factor.
        limit = int(limit * rotary.get("factor", 1.0))
    if getattr(text, "attention_type", None) == BLOCK_SPARSE:
        limit = min(limit, _before_blocks(text))
    if model is None:
        return limit
    return min([limit, *(_rows_behind_padding(name, module) for name, module in model.named_modules())])


def _before_blocks(text: Any) -> int:
    return int((5 + 2 * text.num_random_blocks) * text.block_size)


def read_more(config: Any, length: int) -> str:
    """Say how a model is brought to read more tokens than it does, where its configuration alone sets the limit.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
        The model's configuration.
    length : int
        The most tokens that it reads.

    Returns
    -------
    str
        To be said after "shorten it"; empty where nothing helps.
    """
    text = config.get_text_config()
    if getattr(text, "attention_type", None) != BLOCK_SPARSE or length != _before_blocks(text):
        return ""
    return (
        ', or save the model to a folder and set "attention_type": "original_full" in its config.json, since it '
        "attends to longer texts in blocks, to some of them more than once"
    )


def _rows_behind_padding(name: str, module: Any) -> int:
    """Rows of a table of positions that lie behind the one for padding; no limit where there is none."""
    padding, table = getattr(module, "padding_idx", None), getattr(module, "weight", None)
    # A table with an offset of its own is as much longer.
    if "position" not in name.rpartition(".")[2] or padding is None or hasattr(module, "offset"):
        return UNLIMITED_LENGTH
    if table is None or table.ndim != 2:
        return UNLIMITED_LENGTH
    return int(table.shape[0]) - int(padding) - 1


def skeleton(config: Any) -> Any:
    """Build a model without its weights, to see how it is made; None where transformers cannot.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
        The model's configuration.

    Returns
    -------
    transformers.PreTrainedModel or None
        On the meta device. A model with rotary positions has no table of them, and is not built.
    """
    import torch
    from transformers import AutoModel

    if getattr(config.get_text_config(), "rope_parameters", None):
        return None
    try:
        with torch.device("meta"):
            return AutoModel.from_config(config)
    except Exception:  # whatever a model's own code raises: loading its weights says what is wrong
        return None


def attend_in_full(model: Any) -> None:
    """Have a model attend to all tokens that does so with short texts alone, and only once it has read one.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        BigBird or BigBird-Pegasus, which are changed; any other is left as it is.
    """
    if getattr(model.config, "attention_type", None) == BLOCK_SPARSE:
        for module in list(model.modules()):
            if hasattr(module, "set_attention_type") and hasattr(module, "config"):
                module.set_attention_type("original_full")
