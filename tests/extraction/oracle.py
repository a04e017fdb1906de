"""The plain way to the counts: one sequence at a time, eager transformers, a loop over numpy rows in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metastable.study import Sequence

NEAR = 1e-5
"""Cumulative mass this close to the threshold may fall on either side: float32 products differ with the batch."""


def count_row(row: NDArray[np.float64], threshold: float) -> tuple[int, bool]:
    """Count one row by its definition, and say whether it is too close to call."""
    ordered = sorted((float(p) for p in row), reverse=True)
    total, mass, count, near = sum(ordered), 0.0, 1, False
    for p in ordered:
        mass += p
        near = near or abs(mass / total - threshold) < NEAR
        if mass < threshold * total:
            count += 1
    return min(count, len(ordered)), near


def text_sequences(lengths: list[int], vocabulary: int = 60, seed: int = 0) -> list[Sequence]:
    """Make sequences of random tokens between two special ones; words have one to three pieces."""
    rng = np.random.default_rng(seed)
    sequences = []
    for index, length in enumerate(lengths):
        inner = length - 2
        words = np.repeat(np.arange(inner), rng.integers(1, 4, inner))[:inner]
        sequences.append(
            Sequence(
                identifier=f"s{index}",
                condition="a" if index % 2 else "b",
                words=tuple(f"w{word}" for word in np.unique(words)),
                text="",
                token_ids=(1, *(int(token) for token in rng.integers(5, vocabulary, inner)), 2),
                word_index=(-1, *(int(word) for word in words), -1),
            )
        )
    return sequences


def image_sequences(number: int) -> list[Sequence]:
    """Make sequences without tokens, for models that see."""
    return [Sequence(f"i{index}", "a", (), "", (), ()) for index in range(number)]


def features_for(name: str, number: int) -> dict[str, NDArray[Any]]:
    """Make images or box features for the models that see."""
    rng = np.random.default_rng(1)
    if name in ("vit", "clip"):
        return {"pixel_values": rng.normal(size=(number, 3, 16, 16)).astype(np.float32)}
    if name == "lxmert":
        there = np.ones((number, 5), dtype=np.int64)
        there[::2, 3:] = 0
        return {
            "visual_feats": rng.normal(size=(number, 5, 10)).astype(np.float32),
            "visual_pos": rng.uniform(size=(number, 5, 4)).astype(np.float32),
            "visual_attention_mask": there,
        }
    return {}


def plain_measures(
    weights: NDArray[np.float64], special: NDArray[np.bool_], lengths: NDArray[np.float64] | None, threshold: float
) -> dict[str, NDArray[np.float64]]:
    """Measure the rows of one layer, (heads, queries, keys), one by one; NaN where a count is too close to call.

    `special` are the keys of no word, `lengths` (heads, keys) those of the value vectors.
    """
    names = ("count", "count_words", "count_contributions", "share", "special_mass", "first_mass", "sink_mass")
    measured = {name: np.full(weights.shape[:2], np.nan) for name in (*names, "entropy")}

    def counted(row: NDArray[np.float64]) -> float:
        if not row.any():
            return 0.0
        count, near = count_row(row, threshold)
        return np.nan if near else count

    for head, query in np.ndindex(weights.shape[:2]):
        row = weights[head, query]
        whole = row[row > 0] / row.sum()
        of_row = {
            "count": counted(row),
            "count_words": counted(np.where(special, 0.0, row)),
            "share": counted(row) / (weights[:, query] > 0).any(axis=0).sum(),
            "special_mass": row[special].sum(),
            "first_mass": row[0],
            "sink_mass": 1 - row.sum(),
            "entropy": -(whole * np.log(whole)).sum(),
        }
        if lengths is not None:
            of_row["count_contributions"] = counted(row * lengths[head])
        for name, value in of_row.items():
            measured[name][head, query] = value
    return measured


def plain_attention(
    model: Any, sequence: Sequence, features: dict[str, NDArray[Any]]
) -> dict[str, list[NDArray[np.float64]]]:
    """Run one sequence alone through eager attention; (heads, queries, keys) of each layer of each site."""
    model.set_attn_implementation("eager")
    inputs: dict[str, Any] = {}
    if sequence.token_ids:
        ids = torch.tensor([sequence.token_ids])
        inputs["input_ids"] = ids
        if sequence.segment_ids:
            inputs["token_type_ids"] = torch.tensor([sequence.segment_ids])
        if model.config.is_encoder_decoder:
            start = torch.tensor([[getattr(model.config, "decoder_start_token_id", 0)]])
            inputs["decoder_input_ids"] = torch.cat([start, ids[:, :-1]], dim=1)
    keep = features.get("visual_attention_mask")
    for feature, values in features.items():
        # Boxes that are not there are left out altogether, which masking them must amount to.
        kept = values if keep is None else values[keep > 0]
        inputs[feature] = torch.as_tensor(kept)[None]
    with torch.no_grad():
        output = model(**inputs, output_attentions=True)
    if "text_model_output" in output:
        return {
            "text": _numpy(output.text_model_output.attentions),
            "vision": _numpy(output.vision_model_output.attentions),
        }
    fields = {
        "self": "attentions",
        "encoder": "encoder_attentions",
        "decoder": "decoder_attentions",
        "cross": "cross_attentions",
        "language": "language_attentions",
        "vision": "vision_attentions",
    }
    if "cross_encoder_attentions" in output:
        fields["cross"] = "cross_encoder_attentions"
    if not sequence.token_ids:
        fields = {"vision": "attentions"}
    return {site: _numpy(output[name]) for site, name in fields.items() if output.get(name)}


def _numpy(layers: Any) -> list[NDArray[np.float64]]:
    return [layer[0].numpy().astype(np.float64) for layer in layers]
