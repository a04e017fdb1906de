"""One block of sequences through the model: batches in, arrays of counts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.extraction.batches import Batch, make_batch, plan_batches
from metastable.extraction.departure import Writer, depart
from metastable.extraction.fused import LayerMeasures, Measuring, refuse_faults
from metastable.extraction.row_measures import N_VISIBLE
from metastable.extraction.store import Layout
from metastable.extraction.summarizing import RowOptions, select_queries, summarize_rows
from metastable.measures import COUNT, SHARE, measure_named
from metastable.models.capture import LayerAttention, Listener, Read, accepts, is_out_of_memory
from metastable.models.sites import Site, Stream

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder
    from metastable.study import Sequence

__all__ = ["Counter", "Reader", "choose_part", "sites_of_part", "vision_tokens"]


def choose_part(encoder: Encoder, sequences: SequenceOf[Sequence], features: Mapping[str, NDArray[Any]]) -> str | None:
    """Choose the tower of a two-tower model that has input; None for the whole model.

    Raises
    ------
    InputError
        If the model needs an input that is not there, or features are given that it does not take.
    """
    model = encoder.model
    reads_text = any(site.queries == "text" for site in encoder.sites)
    empty = [sequence.identifier for sequence in sequences if not sequence.token_ids]
    for name, values in features.items():
        if not accepts(model, name):
            raise InputError(f"model {encoder.model_id!r} takes no feature {name!r}; leave it out")
        if len(values) != len(sequences):
            raise InputError(
                f"feature {name!r} has {len(values)} rows for {len(sequences)} sequences; give one row each"
            )
    if not features and accepts(model, "pixel_values") and hasattr(model, "text_model") and not empty:
        return "text_model"
    if features and reads_text and len(empty) == len(sequences) and hasattr(model, "vision_model"):
        return "vision_model"
    for name in ("pixel_values", "visual_feats", "visual_pos"):
        if name in encoder.needs and name not in features:
            raise InputError(
                f"model {encoder.model_id!r} needs {name!r}; give it in features, one row for each sequence"
            )
    if reads_text and empty:
        raise InputError(f"sequence {empty[0]!r} has no tokens; leave it out")
    return None


@dataclass(frozen=True)
class Reader:
    """Sequences and the model that reads them.

    Attributes
    ----------
    encoder : Encoder
        The model.
    sequences : sequence of Sequence
        All of them.
    features : mapping of str to ndarray
        Inputs that are no tokens, first axis the sequences.
    read : callable
        Runs a batch, as `metastable.models.capture.reading` gives it.
    """

    encoder: Encoder
    sequences: SequenceOf[Sequence]
    features: Mapping[str, NDArray[Any]]
    read: Read

    def batch(self, rows: NDArray[np.intp]) -> Batch:
        """Make one batch of the sequences at some positions."""
        tokenizer = self.encoder.tokenizer
        return make_batch(
            [self.sequences[row] for row in rows],
            {name: values[rows] for name, values in self.features.items()},
            self.encoder.model.config,
            pad_id=tokenizer.pad_id if tokenizer is not None else 0,
            device=self.encoder.device,
            dtype=self.encoder.dtype,
        )


def sites_of_part(sites: tuple[Site, ...], part: str | None) -> tuple[Site, ...]:
    """Return the sites of a tower; all of them where the whole model is read."""
    stream = {"text_model": "text", "vision_model": "vision"}.get(part or "")
    return tuple(site for site in sites if stream is None or site.queries == stream)


def vision_tokens(reader: Reader) -> int:
    """Find the number of visual tokens of a sequence by one forward pass of the first."""
    sizes: list[int] = []
    seeing = {site.name for site in reader.encoder.sites if site.keys == "vision"}

    def measure(layer: LayerAttention) -> None:
        if layer.site in seeing:
            sizes.append(layer.weights.shape[-1])

    reader.read(reader.batch(np.zeros(1, dtype=np.intp)).inputs, measure)
    return max(sizes)


class Counter:
    """Counts blocks of sequences, and remembers the batch size that memory allows.

    Parameters
    ----------
    reader : Reader
        Sequences and model.
    layout : Layout
        Labels and shape of the cube.
    lengths : ndarray of int, shape (n_sequences,)
        Tokens of each sequence.
    options : RowOptions
        Which rows are summarized, and how.
    batch_tokens : int
        The most tokens of a batch to begin with.
    """

    def __init__(
        self,
        reader: Reader,
        layout: Layout,
        lengths: NDArray[np.integer[Any]],
        options: RowOptions,
        batch_tokens: int,
    ) -> None:
        self._reader = reader
        self._lengths = lengths
        self._layout = layout
        self._options = options
        self._sites = {site.name: site for site in reader.encoder.sites}
        self.batch_tokens = batch_tokens

    def count_block(self, block: slice, progress: Callable[[int], None], writer: Writer) -> dict[str, NDArray[Any]]:
        """Count one block.

        Parameters
        ----------
        block : slice
            Positions of its sequences.
        writer : Writer
            Fills the arrays; they are filled when it has done what it was handed until now.
        progress : callable
            Called after each batch with the number of its sequences.

        Returns
        -------
        dict of str to ndarray
            The arrays of `Layout.empty_block`, which the writer fills.

        Raises
        ------
        InputError
            If memory does not hold one sequence.
        """
        arrays = self._layout.empty_block(block.stop - block.start)
        lengths = self._lengths[block]
        waiting = np.arange(len(lengths))
        while len(waiting):
            rows = waiting[plan_batches(lengths[waiting], self.batch_tokens, pads=self._reader.encoder.pads)[0]]
            if self._fits(arrays, block.start, rows, writer):
                waiting = np.setdiff1d(waiting, rows)
                progress(len(rows))
            elif len(rows) > 1:
                self.batch_tokens = int(lengths[rows].max()) * (len(rows) // 2)
            else:
                identifier = self._layout.identifiers[block.start + rows[0]]
                raise InputError(
                    f"memory does not hold the attention of sequence {identifier!r} with its {lengths[rows[0]]} "
                    "tokens; use a machine with more of it, or shorter sequences"
                )
        return arrays

    def _fits(self, arrays: dict[str, NDArray[Any]], start: int, rows: NDArray[np.intp], writer: Writer) -> bool:
        """Count one batch; False if memory ran out."""
        try:
            arrive = self._count_batch(start, rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            writer.submit(lambda: self._keep_batch(arrays, rows, arrive(), writer))
            return True
        # Outside the handler, since the traceback keeps the tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False

    def _count_batch(self, start: int, rows: NDArray[np.intp]) -> Callable[[], list[_Kept]]:
        """Run one batch; what is returned waits for its measures, which the device may still be at."""
        batch = self._reader.batch(start + rows)
        options = self._options
        kept: list[_Kept] = []
        faults: list[torch.Tensor] = []

        def asked(site: str, n_queries: int) -> torch.Tensor:
            stream = self._sites[site].queries
            words = _words(batch, stream, n_queries)
            return select_queries(words, batch.present.get(stream, torch.ones_like(words) > 0), options.queries)

        def word_keys(site: str, n_keys: int) -> torch.Tensor:
            return _words(batch, self._sites[site].keys, n_keys) >= 0

        def take(layer: LayerMeasures) -> None:
            faults.append(layer.faults)
            kept.extend(_Kept(layer.site, layer.layer, *one) for one in _with_share(layer.values).items())

        def summarize(layer: LayerAttention) -> None:
            site = self._sites[layer.site]
            n_queries, n_keys = layer.weights.shape[-2:]
            words = {
                site.keys: _words(batch, site.keys, n_keys),
                site.queries: _words(batch, site.queries, n_queries),
            }
            summary = summarize_rows(
                layer.weights,
                self._layout.thresholds,
                site,
                asked(layer.site, n_queries),
                words,
                options,
                batch.targets,
                layer.values,
            )
            kept.extend(_Kept(layer.site, layer.layer, *one) for one in summary.items())

        listener: Listener = summarize
        if self._reader.encoder.way == "interface" and options.needs_no_weights:
            wanted = [N_VISIBLE if name == SHARE.name else name for name in options.measures]
            listener = Measuring(self._layout.thresholds, wanted, asked, word_keys, take)
        self._reader.read(batch.inputs, listener)
        with torch.inference_mode():
            # Outside the layers, since in each of them the device would be waited for.
            averaged_there = any(one.values.device.type != "cpu" for one in kept)
            rows_leave = self._layout.keep == "tokens" or not averaged_there
            leaving = [self._smaller(one.values) for one in kept] if rows_leave else []
            means = [_mean_of_rows(one) for one in kept if one.values.device.type != "cpu"]
            together = [torch.stack(faults)] if faults else []
            arrive = depart([*leaving, *means, *together])

        def unpack() -> list[_Kept]:
            arrays = arrive()
            if faults:
                refuse_faults(torch.from_numpy(arrays[-1]))
            nothing: list[Any] = [None] * len(kept_names)
            values = arrays[:n_leaving] or nothing
            averages = arrays[n_leaving:][:n_means] or nothing
            found = zip(kept_names, values, averages, strict=True)
            return [one._replace(values=of_rows, mean=mean) for one, of_rows, mean in found]

        n_leaving, n_means = len(leaving), len(means)
        # Without the tensors, whose memory the next batch needs.
        kept_names = [one._replace(values=None) for one in kept]
        kept.clear()
        return unpack

    def _smaller(self, values: torch.Tensor) -> torch.Tensor:
        """Give counts that leave a card the fewest bytes that hold them."""
        if values.device.type == "cpu" or values.is_floating_point():
            return values
        most = self._layout.max_count
        return values.to(torch.uint8 if most < 1 << 8 else torch.int16 if most < 1 << 15 else torch.int32)

    def _keep_batch(
        self, arrays: dict[str, NDArray[Any]], rows: NDArray[np.intp], batch: list[_Kept], writer: Writer
    ) -> None:
        writer.share([partial(self._keep, arrays, rows, one) for one in batch])

    def _keep(self, arrays: dict[str, NDArray[Any]], rows: NDArray[np.intp], kept: _Kept) -> None:
        site = self._layout.sites.index(kept.site)
        plane = self._layout.layers.index(self._sites[kept.site].layer_numbers[kept.layer])
        measure, values, mean = measure_named(kept.name), kept.values, kept.mean
        if mean is None:
            mean = _mean_of_array(values, whole=measure.whole, of_threshold=measure.of_threshold)
        n_heads = mean.shape[1]
        if kept.name in arrays:
            values = values.swapaxes(-1, -2) if measure.of_threshold else values
            n_queries = values.shape[-1]
            arrays[kept.name][rows, site, plane, :n_heads, ..., :n_queries] = values
        arrays[f"mean_{kept.name}"][rows, site, plane, :n_heads] = mean


class _Kept(NamedTuple):
    """A measure of one layer of one batch: (batch, heads, queries), with a last axis of thresholds where it has some.

    A tensor until it has left its device, with the mean over queries where that was taken there.
    """

    site: str
    layer: int
    name: str
    values: Any
    mean: Any = None


def _mean_of_array(values: NDArray[Any], *, whole: bool, of_threshold: bool) -> NDArray[np.float64]:
    """Average over queries: those above 0 of whole numbers, those that are not NaN of others; NaN where none is."""
    if of_threshold:
        values = values.swapaxes(-1, -2)
    if whole:
        return _mean(values.sum(-1, dtype=np.int64), np.count_nonzero(values, axis=-1))
    return _mean(np.nansum(values, axis=-1, dtype=np.float64), np.count_nonzero(~np.isnan(values), axis=-1))


def _mean_of_rows(kept: _Kept) -> torch.Tensor:
    """As `_mean_of_array`, on the device of the values."""
    measure, values = measure_named(kept.name), kept.values
    axis = -2 if measure.of_threshold else -1
    if measure.whole:
        total, number = values.sum(axis, dtype=torch.int64), (values != 0).sum(axis)
    else:
        total, number = values.nansum(axis, dtype=torch.float64), (~values.isnan()).sum(axis)
    mean: torch.Tensor = total.double() / number  # 0 / 0 is NaN
    return mean


def _words(batch: Batch, stream: Stream, n_tokens: int) -> torch.Tensor:
    words = batch.words.get(stream)
    if words is not None:
        return words
    like = next(iter(batch.inputs.values()))
    return torch.arange(n_tokens, device=like.device).expand(len(like), n_tokens)


def _with_share(values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put the share of the keys in the place of their number."""
    measured = dict(values)
    visible = measured.pop(N_VISIBLE, None)
    if visible is not None:
        counts = measured[COUNT.name]
        measured[SHARE.name] = (counts / visible[..., None]).masked_fill(counts == 0, torch.nan)
    return measured


def _mean(total: Any, number: Any) -> NDArray[np.float64]:
    """Divide sums by their numbers; NaN where there is nothing."""
    mean = np.full(number.shape, np.nan)
    np.divide(total, number, out=mean, where=number > 0)
    return mean
