"""The extraction of a study: sequences and a model in, a cube of counts out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.extraction.batches import Batch, make_batch, plan_batches, plan_blocks
from metastable.extraction.capture import LayerAttention, capture_layers
from metastable.extraction.mass import check_thresholds, count_entries
from metastable.extraction.store import CountStore, Layout, create_store, load_counts, open_store, publish

if TYPE_CHECKING:
    from metastable.encoders import Encoder
    from metastable.study import Sequence

__all__ = ["FORMAT", "Extraction", "extract", "extraction_key"]

FORMAT = 1
"""Number of the cube's format and of the counting rule; a new one never reuses an older cube."""

# A block is what a killed run loses at most: a few batches, and no more memory than this.
_BATCHES_PER_BLOCK = 4
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Extraction:
    """A finished extraction.

    Attributes
    ----------
    dataset : xarray.Dataset
        The cube, as `load_counts` opens it.
    path : Path
        Where it is.
    key : str
        SHA-256 of all that it was computed from.
    reused : bool
        Whether it had been finished before, and nothing was computed.
    n_resumed : int
        Sequences taken over from an earlier run that was cut short or damaged; 0 if reused whole.
    n_sequences : int
        Number of sequences.
    capture : str
        ``"interface"`` or ``"eager"``: how the attention was reached.
    capture_reason : str
        Why.
    batch_tokens : int
        Tokens of a batch in the end; less than asked for where memory ran out.
    """

    dataset: xr.Dataset = field(repr=False)
    path: Path
    key: str
    reused: bool
    n_resumed: int
    n_sequences: int
    capture: str
    capture_reason: str
    batch_tokens: int


def extract(
    encoder: Encoder,
    sequences: SequenceOf[Sequence],
    *,
    thresholds: SequenceOf[float] = (0.9,),
    path: str | Path,
    batch_tokens: int = 4096,
    features: Mapping[str, NDArray[Any]] | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Count the attention of every sequence, and keep the counts at `path`.

    Work is done in blocks of sequences; each is written when it is whole, to a folder beside `path` that
    takes its place when all are there. A run that was cut short goes on from its last whole block, a damaged
    block is computed anew, and a finished cube with the same key is reused.

    Parameters
    ----------
    encoder : Encoder
        The model.
    sequences : sequence of Sequence
        What it reads, with unique identifiers.
    thresholds : sequence of float
        Shares of a row's mass, each in (0, 1].
    path : str or Path
        Where the cube will be, for instance ``reports/STUDY/counts.zarr``.
    batch_tokens : int
        The most tokens of a batch, padding included.
    features : mapping of str to ndarray, optional
        Inputs that are no tokens, by the name that the model's forward pass gives them (``pixel_values``,
        ``visual_feats``, ``visual_pos``, ``visual_attention_mask``); first axis the sequences.
    callback : callable, optional
        Called with the sequences done and all of them.

    Returns
    -------
    Extraction

    Raises
    ------
    InputError
        If the input is bad: no sequences, one too long for the model, identifiers that are not unique,
        features of another length, a threshold outside (0, 1].
    """
    path, features = Path(path), dict(features or {})
    thresholds = check_thresholds(thresholds)
    _check_input(encoder, sequences, features, batch_tokens)
    key = extraction_key(encoder, sequences, thresholds=thresholds, features=features)
    layout = _layout(encoder, sequences, features, thresholds, batch_tokens)
    partial = path.with_name(f".{path.stem}-{key[:16]}{path.suffix}")

    finished = _with_key(path, key)
    store = finished or _with_key(partial, key)
    if store is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        store = create_store(partial, layout, _attributes(encoder, key))
    blocks = plan_blocks(len(sequences), store.block)
    missing = [block for block in blocks if not store.is_whole(block)]
    n_missing = sum(block.stop - block.start for block in missing)
    n_resumed = 0 if finished and not missing else len(sequences) - n_missing

    job = _Job(encoder, sequences, features, layout, batch_tokens)
    done = len(sequences) - n_missing
    if callback is not None:
        callback(done, len(sequences))
    for block in missing:
        for n_done in job.count_block(store, block):
            done += n_done
            if callback is not None:
                callback(done, len(sequences))
    if finished is None:
        publish(partial, path)
    return Extraction(
        dataset=load_counts(path),
        path=path,
        key=key,
        reused=finished is not None and not missing,
        n_resumed=n_resumed,
        n_sequences=len(sequences),
        capture=encoder.way,
        capture_reason=encoder.way_reason,
        batch_tokens=job.batch_tokens,
    )


def extraction_key(
    encoder: Encoder,
    sequences: SequenceOf[Sequence],
    *,
    thresholds: SequenceOf[float],
    features: Mapping[str, NDArray[Any]] | None = None,
) -> str:
    """Hash all that a cube depends on: weights, dtype, thresholds, options, and every sequence.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    recipe = {
        "format": FORMAT,
        "weights": encoder.weights_hash,
        "dtype": encoder.dtype,
        "sites": [asdict(site) for site in encoder.sites],
        "thresholds": [float(threshold) for threshold in thresholds],
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for sequence in sequences:
        row = (sequence.identifier, sequence.token_ids, sequence.word_index, sequence.segment_ids)
        digest.update(json.dumps(row).encode())
    for name, values in sorted((features or {}).items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        for row in values:
            digest.update(np.ascontiguousarray(row).data)
    return digest.hexdigest()


def _with_key(path: Path, key: str) -> CountStore | None:
    store = open_store(path)
    return store if store is not None and store.key == key else None


def _attributes(encoder: Encoder, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "format": FORMAT,
        "model": encoder.model_id,
        "revision": encoder.revision,
        "weights_sha256": encoder.weights_hash,
        "dtype": encoder.dtype,
        "device": encoder.device,
        "capture": encoder.way,
        "capture_reason": encoder.way_reason,
    }


def _check_input(
    encoder: Encoder, sequences: SequenceOf[Sequence], features: Mapping[str, NDArray[Any]], batch_tokens: int
) -> None:
    if not sequences:
        raise InputError("there are no sequences to extract; give at least one")
    if batch_tokens < 1:
        raise InputError(f"batch_tokens is {batch_tokens}; give at least 1")
    seen: set[str] = set()
    for sequence in sequences:
        if sequence.identifier in seen:
            raise InputError(f"sequence {sequence.identifier!r} is there twice; give each its own identifier")
        seen.add(sequence.identifier)
        if len(sequence.token_ids) > encoder.max_length:
            raise InputError(
                f"sequence {sequence.identifier!r} has {len(sequence.token_ids)} tokens but model "
                f"{encoder.model_id!r} reads at most {encoder.max_length}; shorten it"
            )
        if not sequence.token_ids and any(site.queries == "text" for site in encoder.sites):
            raise InputError(f"sequence {sequence.identifier!r} has no tokens; leave it out")
    for name, values in features.items():
        if len(values) != len(sequences):
            raise InputError(
                f"feature {name!r} has {len(values)} rows for {len(sequences)} sequences; give one row each"
            )


def _layout(
    encoder: Encoder,
    sequences: SequenceOf[Sequence],
    features: Mapping[str, NDArray[Any]],
    thresholds: tuple[float, ...],
    batch_tokens: int,
) -> Layout:
    lengths = np.array([len(sequence.token_ids) for sequence in sequences])
    n_vision = _n_vision_tokens(encoder, sequences[:1], features) if _sees(encoder) else 0
    n_queries = max((int(lengths.max()) if site.queries == "text" else n_vision) for site in encoder.sites)
    n_keys = max((int(lengths.max()) if site.keys == "text" else n_vision) for site in encoder.sites)
    layout = Layout(
        identifiers=tuple(sequence.identifier for sequence in sequences),
        sites=tuple(site.name for site in encoder.sites),
        n_layers=max(site.n_layers for site in encoder.sites),
        n_heads=max(site.n_heads for site in encoder.sites),
        thresholds=thresholds,
        n_tokens=n_queries,
        max_count=n_keys,
        measures=(),
        block=1,
    )
    bytes_each = sum(values.nbytes for values in layout.empty_block(1).values())
    by_tokens = int(_BATCHES_PER_BLOCK * batch_tokens / max(1.0, float(lengths.mean()), float(n_vision)))
    block = max(1, min(by_tokens, _BLOCK_BYTES // bytes_each, len(sequences)))
    return Layout(**{**vars(layout), "block": block})


def _sees(encoder: Encoder) -> bool:
    return any("vision" in (site.queries, site.keys) for site in encoder.sites)


def _n_vision_tokens(
    encoder: Encoder, sequences: SequenceOf[Sequence], features: Mapping[str, NDArray[Any]]
) -> int:
    """Find the number of visual tokens of a sequence by one forward pass of the first."""
    batch = _batch(encoder, sequences, {name: values[:1] for name, values in features.items()})
    sizes: list[int] = []
    seeing = {site.name for site in encoder.sites if site.keys == "vision"}

    def measure(layer: LayerAttention) -> None:
        if layer.site in seeing:
            sizes.append(layer.weights.shape[-1])

    capture_layers(encoder.model, batch.inputs, measure, way=encoder.way, visible=batch.present)
    return max(sizes)


def _batch(encoder: Encoder, sequences: SequenceOf[Sequence], features: Mapping[str, NDArray[Any]]) -> Batch:
    return make_batch(
        sequences,
        features,
        encoder.model.config,
        pad_id=encoder.tokenizer.pad_id if encoder.tokenizer is not None else 0,
        device=encoder.device,
        dtype=encoder.dtype,
    )


class _Job:
    """Counts blocks of sequences; knows the batch size that memory allows."""

    def __init__(
        self,
        encoder: Encoder,
        sequences: SequenceOf[Sequence],
        features: Mapping[str, NDArray[Any]],
        layout: Layout,
        batch_tokens: int,
    ) -> None:
        self.encoder = encoder
        self.sequences = sequences
        self.features = features
        self.layout = layout
        self.batch_tokens = batch_tokens
        self._sites = {site.name: site for site in encoder.sites}

    def count_block(self, store: CountStore, block: slice) -> SequenceOf[int]:
        """Count and write one block; the numbers of sequences of its batches."""
        arrays = self.layout.empty_block(block.stop - block.start)
        lengths = np.array([len(sequence.token_ids) for sequence in self.sequences[block]])
        sizes = []
        for rows in plan_batches(lengths, self.batch_tokens):
            self._count_batch(arrays, block.start, rows)
            sizes.append(len(rows))
        store.write(block, arrays)
        return sizes

    def _count_batch(self, arrays: dict[str, NDArray[Any]], start: int, rows: NDArray[np.intp]) -> None:
        where = start + rows
        batch = _batch(
            self.encoder,
            [self.sequences[index] for index in where],
            {name: values[where] for name, values in self.features.items()},
        )

        def count(layer: LayerAttention) -> None:
            site = self._sites[layer.site]
            present = batch.present.get(site.queries)
            counts = count_entries(layer.weights, self.layout.thresholds)
            if present is not None:
                counts = counts * present[:, None, :, None]
            self._keep(arrays, rows, layer, counts)

        capture_layers(self.encoder.model, batch.inputs, count, way=self.encoder.way, visible=batch.present)

    def _keep(
        self,
        arrays: dict[str, NDArray[Any]],
        rows: NDArray[np.intp],
        layer: LayerAttention,
        counts: torch.Tensor,
    ) -> None:
        site = self.layout.sites.index(layer.site)
        values = counts.cpu().numpy().transpose(0, 1, 3, 2)
        n_heads, n_queries = values.shape[1], values.shape[3]
        arrays["count"][rows, site, layer.layer, :n_heads, :, :n_queries] = values
        n_asked = (values > 0).sum(axis=-1)
        total = values.sum(axis=-1, dtype=np.float64)
        mean = np.divide(total, n_asked, out=np.full(total.shape, np.nan), where=n_asked > 0)
        arrays["mean_count"][rows, site, layer.layer, :n_heads] = mean
