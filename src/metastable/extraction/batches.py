"""Which sequences are read together: blocks that are stored whole, batches of similar length within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from metastable.models.inputs import fill_id
from metastable.models.sites import Stream

if TYPE_CHECKING:
    import metastable.study as study
    from metastable.models.encoders import Encoder

__all__ = ["Batch", "make_batch", "plan_batches", "plan_blocks", "suitable_batch_tokens"]

# Tokens of a batch on the CPU, whose cache more would leave; and the most on a card, which more do not make faster.
_TOKENS_ON_CPU = 1 << 12
_MOST_TOKENS = 1 << 16
_SHARE_OF_CARD = 1 / 8
# Numbers that a token takes: in units of the width of the model, and in each of its heads what is measured of a row.
_WIDTHS_OF_TOKEN = 12
_NUMBERS_OF_HEAD = 16
_WIDEST = 1 << 13


def suitable_batch_tokens(encoder: Encoder) -> int:
    """Choose how many tokens a batch may have on the device of a model.

    Of a card it is the memory as a whole that counts, not what is free of it, so that every run on it, whatever else
    runs there, has the same batches and with them the same last digits.

    Parameters
    ----------
    encoder : Encoder
        The model.

    Returns
    -------
    int
        A power of two.
    """
    if not encoder.device.startswith("cuda"):
        return _TOKENS_ON_CPU
    total = torch.cuda.get_device_properties(encoder.device).total_memory
    weights = sum(weight.numel() * weight.element_size() for weight in encoder.model.parameters())
    width = getattr(encoder.model.config.get_text_config(), "hidden_size", _WIDEST)
    n_heads = sum(site.n_heads * site.n_layers for site in encoder.sites)
    of_token = 4 * (_WIDTHS_OF_TOKEN * width + _NUMBERS_OF_HEAD * n_heads)
    tokens = int(max(total - weights, 0) * _SHARE_OF_CARD) // of_token
    return min(max(1 << max(tokens, 1).bit_length() - 1, _TOKENS_ON_CPU), _MOST_TOKENS)


def plan_blocks(n_sequences: int, size: int) -> list[slice]:
    """Cut a run of sequences into blocks of one size; the last may be shorter."""
    return [slice(start, min(start + size, n_sequences)) for start in range(0, n_sequences, size)]


def plan_batches(lengths: NDArray[np.integer[Any]], batch_tokens: int, *, pads: bool = True) -> list[NDArray[np.intp]]:
    """Group the sequences of a block into batches of similar length.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_sequences,)
        Tokens of each sequence.
    batch_tokens : int
        The most tokens of a batch, padding included; a longer sequence goes alone.
    pads : bool
        Whether sequences of unequal length may go together.

    Returns
    -------
    list of ndarray of int
        Positions in `lengths`: each once, longest batch first, so that memory runs out at once or never.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, batch_tokens // longest)
        if not pads:
            stop = min(stop, int(np.searchsorted(-lengths[order], -lengths[order[start]], side="right")))
        batches.append(order[start:stop])
        start = stop
    return batches


@dataclass(frozen=True)
class Batch:
    """Sequences that are read together.

    Attributes
    ----------
    inputs : mapping of str to torch.Tensor
        What the model's forward pass takes.
    present : mapping of stream to torch.Tensor
        (batch, tokens) boolean: False for padding. A stream that is not there has no padding.
    words : mapping of stream to torch.Tensor
        (batch, tokens) the word that each token is a piece of; -1 for special tokens and padding. In a
        stream that is not there every token is a word of its own.
    targets : mapping of stream to torch.Tensor
        (batch, tokens) the span of target words that each token is of, as `Sequence.target_spans`; 0 for none.
    """

    inputs: Mapping[str, torch.Tensor]
    present: Mapping[Stream, torch.Tensor]
    words: Mapping[Stream, torch.Tensor]
    targets: Mapping[Stream, torch.Tensor]


def make_batch(
    sequences: Sequence[study.Sequence],
    features: Mapping[str, NDArray[Any]],
    config: Any,
    *,
    pad_id: int,
    device: str,
    dtype: str,
) -> Batch:
    """Pad sequences on the right to their longest and add what else the model reads.

    Parameters
    ----------
    sequences : sequence of Sequence
        With their token ids.
    features : mapping of str to ndarray
        Further inputs by the name that the model's forward pass gives them, first axis the sequence; floats
        are cast to `dtype`. ``visual_attention_mask`` tells which visual features are there.
    config : transformers.PreTrainedConfig
        The model's configuration. A decoder reads the same tokens, shifted right by its start token.
    pad_id : int
        The tokenizer's padding token; where the model has no embedding for it, another fills up.
    device, dtype : str
        Where the tensors go, and the type of the floating-point ones.

    Returns
    -------
    Batch
    """
    inputs: dict[str, torch.Tensor] = {}
    present: dict[Stream, torch.Tensor] = {}
    words: dict[Stream, torch.Tensor] = {}
    targets: dict[Stream, torch.Tensor] = {}
    width = max(len(sequence.token_ids) for sequence in sequences)
    if width:
        ids = _pad([sequence.token_ids for sequence in sequences], width, fill_id(config, pad_id))
        lengths = torch.tensor([len(sequence.token_ids) for sequence in sequences])
        mask = torch.arange(width)[None, :] < lengths[:, None]
        inputs["input_ids"] = ids
        inputs["attention_mask"] = mask.long()
        present["text"] = mask
        words["text"] = _pad([sequence.word_index for sequence in sequences], width, -1)
        if any(sequence.target for sequence in sequences):
            targets["text"] = _pad([sequence.target_spans for sequence in sequences], width, 0)
        if any(sequence.segment_ids for sequence in sequences):
            inputs["token_type_ids"] = _pad([sequence.segment_ids for sequence in sequences], width, 0)
        if config.is_encoder_decoder:
            inputs["decoder_input_ids"] = _shift_right(ids, _start_token(config))
            inputs["decoder_attention_mask"] = mask.long()
            present["decoder"] = mask
            words["decoder"] = _shift_right(words["text"], -1)
            if "text" in targets:
                targets["decoder"] = _shift_right(targets["text"], 0)
    for name, values in features.items():
        tensor = torch.as_tensor(np.ascontiguousarray(values))
        inputs[name] = tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor
    if "visual_attention_mask" in features:
        present["vision"] = torch.as_tensor(np.asarray(features["visual_attention_mask"]) > 0)
    elif "visual_feats" in features:
        present["vision"] = torch.ones(features["visual_feats"].shape[:2], dtype=torch.bool)
    return Batch(
        inputs={name: _send(tensor, device) for name, tensor in inputs.items()},
        present={stream: _send(tensor, device) for stream, tensor in present.items()},
        words={stream: _send(tensor, device) for stream, tensor in words.items()},
        targets={stream: _send(tensor, device) for stream, tensor in targets.items()},
    )


def _send(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Bring a tensor to a device, without waiting for the batch that a card is still at."""
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _pad(rows: Sequence[Sequence[int]], width: int, fill: int) -> torch.Tensor:
    table = np.full((len(rows), width), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return torch.from_numpy(table)


def _start_token(config: Any) -> int:
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    candidates = (getattr(config, name, None) for name in names)
    return next((int(token) for token in candidates if token is not None), 0)


def _shift_right(rows: torch.Tensor, first: int) -> torch.Tensor:
    return torch.cat([torch.full_like(rows[:, :1], first), rows[:, :-1]], dim=1)
