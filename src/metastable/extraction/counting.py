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
from metastable.extraction.departure import Departure, HostMemory, Writer, depart, on_card
from metastable.extraction.fused import LayerMeasures, Measuring, refuse_faults
from metastable.extraction.row_measures import N_VISIBLE
from metastable.extraction.store import Layout, fill_of
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
        self._memory = HostMemory()

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
            Those of `Layout.empty_block`, which the writer fills.

        Raises
        ------
        InputError
            If memory does not hold one sequence.
        """
        # The writer fills them whole, the rows of each batch when it has them.
        arrays = self._layout.unfilled_block(block.stop - block.start)
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
            counted = self._count_batch(start, rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            writer.submit(lambda: self._keep_batch(arrays, rows, counted, writer))
            return True
        # Outside the handler, since the traceback keeps the tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False

    def _count_batch(self, start: int, rows: NDArray[np.intp]) -> _Counted:
        """Run one batch, whose measures the device may still be at."""
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
            counted = self._depart(kept, faults)
        # Their memory the next batch needs.
        kept.clear()
        return counted

    def _depart(self, kept: SequenceOf[_Kept], faults: SequenceOf[torch.Tensor]) -> _Counted:
        """Send the measures of a batch to the host, in the shape of the cube: there they are only copied."""
        averaged_there = any(on_card(one.values) for one in kept)
        rows_leave = self._layout.keep == "tokens" or not averaged_there
        # The CPU has its layers where they are; to put them together is one more copy.
        together = _alike(kept) if averaged_there else [[one] for one in kept]
        parts, leaving = [], []
        for layers in together:
            site = self._sites[layers[0].site]
            numbers = tuple(site.layer_numbers[one.layer] for one in layers)
            parts.append(_Part(site.name, numbers, layers[0].name))
            if rows_leave:
                leaving.append(_stack([_queries_last(one.name, self._smaller(one.values)) for one in layers]))
            if averaged_there:
                leaving.append(_stack([_mean_of_rows(one) for one in layers]))
        if faults:
            leaving.append(torch.stack(list(faults)))
        departure = depart(leaving, self._memory)
        return _Counted(departure, parts, rows_leave, averaged_there, checked=bool(faults))

    def _smaller(self, values: torch.Tensor) -> torch.Tensor:
        """Give counts that leave a card the fewest bytes that hold them."""
        if not on_card(values) or values.is_floating_point():
            return values
        most = self._layout.max_count
        return values.to(torch.uint8 if most < 1 << 8 else torch.int16 if most < 1 << 15 else torch.int32)

    def _keep_batch(
        self, arrays: dict[str, NDArray[Any]], rows: NDArray[np.intp], counted: _Counted, writer: Writer
    ) -> None:
        try:
            parts = counted.arrive()
            shares = np.array_split(np.arange(len(rows)), min(writer.n_threads, len(rows)))
            names = (COUNT.name, *self._layout.measures)
            works = [(name, slice(int(share[0]), int(share[-1]) + 1)) for share in shares for name in names]
            writer.share([partial(self._keep, arrays, rows[share], name, parts, share) for name, share in works])
        finally:
            counted.departure.release()

    def _keep(
        self,
        arrays: dict[str, NDArray[Any]],
        rows: NDArray[np.intp],
        name: str,
        parts: SequenceOf[_Part],
        share: slice,
    ) -> None:
        """Fill the rows of a block with one measure of some sequences of a batch."""
        where = _as_slice(rows)
        parts = [part for part in parts if part.name == name]
        targets = [arrays[one] for one in (name, f"mean_{name}") if one in arrays]
        if not self._covered(parts):
            for target in targets:
                target[where] = fill_of(target.dtype)
        for part in parts:
            site = self._layout.sites.index(part.site)
            mean = _mean_of_array(part.values[share], whole=measure_named(name).whole) if part.mean is None else (
                part.mean[share]
            )  # fmt: skip
            for among, planes in _runs([self._layout.layers.index(number) for number in part.layers]):
                heads = (slice(None), site, planes, slice(mean.shape[2]))
                arrays[f"mean_{name}"][heads][where] = mean[:, among]
                if name in arrays:
                    rest = arrays[name][heads]
                    n_queries = part.values.shape[-1]
                    rest[..., :n_queries][where] = part.values[share, among]
                    if n_queries < rest.shape[-1]:
                        rest[..., n_queries:][where] = fill_of(rest.dtype)

    def _covered(self, parts: SequenceOf[_Part]) -> bool:
        """Whether parts are of every head of every layer of every site."""
        layout = self._layout
        n_heads = [part.n_heads for part in parts]
        n_layers = sum(len(part.layers) for part in parts)
        return n_layers == len(layout.sites) * len(layout.layers) and all(n == layout.n_heads for n in n_heads)


class _Kept(NamedTuple):
    """A measure of one layer of one batch: (batch, heads, queries), then an axis of thresholds where it has some."""

    site: str
    layer: int
    name: str
    values: torch.Tensor


class _Part(NamedTuple):
    """A measure of layers of one batch, in the shape of the cube.

    Attributes
    ----------
    site : str
        Name of the site.
    layers : tuple of int
        Their numbers in the model.
    name : str
        The measure.
    values : ndarray or None
        (batch, layers, heads, queries), with an axis of thresholds before the queries where it has some; None where
        the means alone leave.
    mean : ndarray or None
        The mean over queries, where it was taken on the device.
    """

    site: str
    layers: tuple[int, ...]
    name: str
    values: Any = None
    mean: Any = None

    @property
    def n_heads(self) -> int:
        """Heads of these layers."""
        return int((self.mean if self.values is None else self.values).shape[2])


@dataclass(frozen=True)
class _Counted:
    """Measures of a batch on their way to the host.

    Attributes
    ----------
    departure : Departure
        Gives the arrays of the parts, one part after another, and last the faults.
    parts : sequence of _Part
        Without their arrays.
    rows_leave, averaged_there : bool
        Which arrays each part has: values, means.
    checked : bool
        Whether there are faults.
    """

    departure: Departure
    parts: SequenceOf[_Part]
    rows_leave: bool
    averaged_there: bool
    checked: bool

    def arrive(self) -> list[_Part]:
        """Wait for the device; the arrays are to be read until the departure is released.

        Raises
        ------
        InputError
            If the model's scores or values are not finite.
        """
        arrays = self.departure()
        if self.checked:
            refuse_faults(torch.from_numpy(arrays[-1]))
        coming = iter(arrays)
        return [
            part._replace(
                values=next(coming) if self.rows_leave else None, mean=next(coming) if self.averaged_there else None
            )
            for part in self.parts
        ]


def _alike(kept: SequenceOf[_Kept]) -> list[list[_Kept]]:
    """Gather the layers of each measure of each site that have one shape."""
    groups: dict[Any, list[_Kept]] = {}
    for one in kept:
        groups.setdefault((one.site, one.name, one.values.shape, one.values.dtype), []).append(one)
    return list(groups.values())


def _stack(layers: SequenceOf[torch.Tensor]) -> torch.Tensor:
    """Put layers along an axis of their own behind that of the batch; of one nothing is copied."""
    return torch.stack(list(layers), dim=1) if len(layers) > 1 else layers[0][:, None]


def _queries_last(name: str, values: torch.Tensor) -> torch.Tensor:
    return values.swapaxes(-1, -2) if measure_named(name).of_threshold else values


def _as_slice(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return positions as a slice where they follow each other, which numpy copies several times faster."""
    first, last = int(rows[0]), int(rows[-1])
    follow = last - first == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    return slice(first, last + 1) if follow else rows


def _runs(planes: SequenceOf[int]) -> list[tuple[slice, slice]]:
    """Cut ascending positions into those that follow each other: where they stand, and what they are."""
    starts = [0, *(at for at in range(1, len(planes)) if planes[at] != planes[at - 1] + 1)]
    stops = [*starts[1:], len(planes)]
    return [
        (slice(start, stop), slice(planes[start], planes[start] + stop - start))
        for start, stop in zip(starts, stops, strict=True)
    ]


def _mean_of_array(values: NDArray[Any], *, whole: bool) -> NDArray[np.float64]:
    """Average over queries, the last axis: those above 0 of whole numbers, those that are not NaN of others.

    NaN where there is none.
    """
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
