"""The extraction of a study: sequences and a model in, a cube of counts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.extraction.batches import plan_blocks, suitable_batch_tokens
from metastable.extraction.counting import Counter, Reader, choose_part, sites_of_part, vision_tokens
from metastable.extraction.departure import Writer, runs_ahead, threads_beside
from metastable.extraction.distributed import Processes, current_processes
from metastable.extraction.mass import check_thresholds
from metastable.extraction.places import Place, find_place, is_begun
from metastable.extraction.row_kernels import choose_row_kernel
from metastable.extraction.sequence_checks import check_sequences
from metastable.extraction.store import CountStore, Keep, Layout, load_verified, publish
from metastable.extraction.summarizing import RowOptions, check_row_options, measures_of_run
from metastable.models.capture import ForwardError, reading
from metastable.models.encoders import fit_lengths
from metastable.models.linear_layers import choose_linear_library
from metastable.models.sites import Site
from metastable.stopping import finished_first

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder
    from metastable.study import Sequence, Study

__all__ = ["Extraction", "extract"]

# Sequences of one length make blocks of one batch; mixed lengths make larger ones, to be sorted within.
_EVEN = 0.8
_BATCHES_PER_BLOCK = 4
# A card's batches are larger, and none should be cut short by its block.
_BLOCK_BYTES = 1 << 26
_BLOCK_BYTES_OF_CARDS = 1 << 28


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
    kernel : str
        What measured the rows, and why it did.
    linear : str
        What multiplied in the model's linear layers, and why it did.
    batch_tokens : int
        Tokens of a batch in the end; less than asked for where memory ran out.
    options : RowOptions
        Which rows were summarized, and how.
    left_out : mapping of str to str
        Of each measure of every run that cannot be had why, after "the measure count_words".
    """

    dataset: xr.Dataset = field(repr=False)
    path: Path
    key: str
    reused: bool
    n_resumed: int
    n_sequences: int
    capture: str
    capture_reason: str
    kernel: str
    linear: str
    batch_tokens: int
    options: RowOptions
    left_out: Mapping[str, str] = field(default_factory=dict)


def extract(
    encoder: Encoder,
    sequences: SequenceOf[Sequence],
    *,
    thresholds: SequenceOf[float] = (0.9,),
    path: str | Path,
    batch_tokens: int | None = None,
    queries: str = "all",
    keys: str = "all",
    unit: str = "tokens",
    measures: SequenceOf[str] = ("count",),
    keep: str = "tokens",
    of_every_run: bool = False,
    features: Mapping[str, NDArray[Any]] | None = None,
    study: Study | None = None,
    in_place: bool = True,
    callback: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Count the attention of every sequence, and keep the counts at `path`.

    Work is done in blocks of sequences; each is written when it is whole, to a folder beside `path` that
    takes its place when all are there. A run that was cut short goes on from its last whole block, a damaged
    block is computed anew, and a finished cube with the same key is reused. Under torchrun the processes
    share the blocks and give the cube that one process gives.

    Parameters
    ----------
    encoder : Encoder
        The model. A decoder reads the tokens of the sequence shifted right by one, its start token first.
    sequences : sequence of Sequence
        What it reads, with unique identifiers.
    thresholds : sequence of float
        Shares of a row's mass, each in (0, 1].
    path : str or Path
        Where the cube will be, for instance ``reports/STUDY/counts.zarr``.
    batch_tokens : int
        The most tokens of a batch, padding included; halved when memory runs out. By default what suits the device:
        4,096 on the CPU, and on a card as many as its memory has room for, which is the same in every run on it.
    queries : {"all", "words", "special"}
        Which tokens query.
    keys : {"all", "words"}
        Which keys count; ``"words"`` drops the special tokens and renormalizes.
    unit : {"tokens", "words"}
        What is counted: tokens, or words whose pieces' mass is summed first.
    measures : sequence of str
        ``"count"``, which is always there, and other names of `metastable.measures`.
    keep : {"tokens", "means"}
        Whether the cube holds the values of every token, or the means of sequences alone.
    of_every_run : bool
        Whether the measures that every run takes are taken too, as far as model and sequences have what they need.
    features : mapping of str to ndarray, optional
        Inputs that are no tokens, by the name that the model's forward pass gives them (``pixel_values``,
        ``visual_feats``, ``visual_pos``, ``visual_attention_mask``); first axis the sequences. Of a model
        with two towers, the one that has no input stays out.
    study : Study, optional
        What the sequences are of: the cube then names it and its two conditions.
    in_place : bool
        Whether a new cube takes its place at `path`; if not it stays beside it, at the extraction's own path, until
        `metastable.files.replace_folder` puts it there.
    callback : callable, optional
        Called with the sequences done and all of them; under torchrun, with this process's share.

    Returns
    -------
    Extraction

    Raises
    ------
    InputError
        If the input is bad: no sequences, one too long for the model, identifiers that are not unique,
        features of another length, an unknown option, a threshold outside (0, 1], a path that cannot be
        written; or if memory does not hold one sequence.
    """
    path, features, keep = Path(path), dict(features or {}), _checked_keep(keep)
    thresholds = check_thresholds(thresholds)
    left_out: dict[str, str] = {}
    if of_every_run:
        measures, left_out = measures_of_run(measures, encoder, sequences)
    options = check_row_options(queries, keys, unit, measures)
    check_sequences(encoder, sequences, options, batch_tokens)
    batch_tokens = suitable_batch_tokens(encoder) if batch_tokens is None else batch_tokens
    part = choose_part(encoder, sequences, features)
    encoder = fit_lengths(encoder, [len(sequence.token_ids) for sequence in sequences])
    processes = current_processes()
    sites = sites_of_part(encoder.sites, part)
    n_layers = sum(site.n_layers for site in sites)
    with reading(encoder.model, encoder.way, part=part, n_layers=n_layers) as read:
        reader = Reader(encoder, sequences, features, read)
        n_vision = _n_vision(reader) if any(site.keys == "vision" for site in sites) else 0
        lengths = np.maximum([len(sequence.token_ids) for sequence in sequences], n_vision)
        block_bytes = _BLOCK_BYTES if encoder.device == "cpu" else _BLOCK_BYTES_OF_CARDS
        layout = _layout(sequences, sites, lengths, thresholds, options, batch_tokens, block_bytes, keep)
        find = cache(partial(find_place, path, layout, reader, options, study, processes))
        if processes.size == 1 and runs_ahead(torch.device(encoder.device)) and not is_begun(path):
            # The card has its first batch before the key is computed and the store is made.
            missing = plan_blocks(len(sequences), layout.block)
        else:
            missing = find().missing
        share = missing[processes.rank :: processes.size]
        counter = Counter(reader, layout, lengths, options, batch_tokens)
        _count_blocks(counter, reader, find, share, _progress(len(sequences), missing, processes, callback))
        processes.wait()
    found = find()
    if processes.is_first and in_place and not found.finished:
        publish(found.store.path, path)
    processes.wait()
    made = path if in_place else found.store.path
    n_missing = sum(block.stop - block.start for block in missing)
    return Extraction(
        dataset=load_verified(made, found.labels),
        path=made,
        key=found.key,
        reused=found.finished and not missing,
        n_resumed=0 if found.finished and not missing else len(sequences) - n_missing,
        n_sequences=len(sequences),
        capture=encoder.way,
        capture_reason=encoder.way_reason,
        kernel=_kernel(encoder, options, int(lengths.max())),
        linear=str(choose_linear_library(encoder.device, encoder.model.dtype)),
        batch_tokens=counter.batch_tokens,
        options=options,
        left_out=left_out,
    )


def _progress(
    n_sequences: int,
    missing: list[slice],
    processes: Processes,
    callback: Callable[[int, int], None] | None,
) -> Callable[[int], None]:
    """Make a function that adds to the sequences done and tells the callback."""
    share = sum(block.stop - block.start for block in missing[processes.rank :: processes.size])
    total = n_sequences if processes.size == 1 else share
    done = total - share

    def add(number: int) -> None:
        nonlocal done
        done += number
        if callback is not None:
            callback(done, total)

    add(0)
    return add


def _n_vision(reader: Reader) -> int:
    try:
        return vision_tokens(reader)
    except ForwardError as error:
        raise _failure(reader, slice(0, 1), error) from error


def _count_blocks(
    counter: Counter, reader: Reader, find: Callable[[], Place], blocks: list[slice], progress: Callable[[int], None]
) -> None:
    with Writer(threads_beside(torch.device(reader.encoder.device))) as writer:
        for block in blocks:
            # A signal ends the run when the block in hand is counted; the writer ends when all that it has is written.
            with finished_first():
                try:
                    arrays = counter.count_block(block, progress, writer)
                except ForwardError as error:
                    raise _failure(reader, block, error) from error
                writer.submit(partial(_write, find().store, block, arrays, writer))


def _write(store: CountStore, block: slice, arrays: Mapping[str, NDArray[Any]], writer: Writer) -> None:
    try:
        # The largest first, so that no thread begins one when the others have ended.
        largest_first = sorted(arrays.items(), key=lambda array: -array[1].nbytes)
        writer.share([partial(store.write_array, block, name, values) for name, values in largest_first])
        store.write_digests(block)
    except OSError as error:
        raise InputError(
            f"the cube of counts cannot be written to {store.path.parent} ({error.strerror}); make room and "
            "run the same again, which goes on from here"
        ) from error


def _failure(reader: Reader, block: slice, error: ForwardError) -> InputError:
    """Say on which sequence of a block the model's own code fails."""
    model = f"model {reader.encoder.model_id!r}"
    for row in range(block.start, block.stop):
        try:
            reader.read(reader.batch(np.array([row])).inputs, lambda _: None)
        except ForwardError as alone:
            sequence = reader.sequences[row]
            return InputError(
                f"{model} cannot read sequence {sequence.identifier!r} with its {len(sequence.token_ids)} tokens: "
                f"{alone}; leave it out, or give another model"
            )
    first, last = (reader.sequences[row].identifier for row in (block.start, block.stop - 1))
    return InputError(
        f"{model} cannot read sequences {first!r} to {last!r} together, though each alone: {error}; "
        "give a smaller batch_tokens"
    )


def _checked_keep(keep: str) -> Keep:
    if keep not in get_args(Keep):
        raise InputError(f"keep {keep!r} is unknown; choose one of {', '.join(get_args(Keep))}")
    return keep  # type: ignore[return-value]


def _kernel(encoder: Encoder, options: RowOptions, n_keys: int) -> str:
    """Say what measures the rows of an extraction, and why."""
    if encoder.way != "interface":
        return "whole weights: the model's attention is read as it returns it"
    if not options.needs_no_weights:
        return "whole weights: not all that is asked of a row can be had while the model attends"
    return str(choose_row_kernel(torch.device(encoder.device), n_keys))


def _layout(
    sequences: SequenceOf[Sequence],
    sites: tuple[Site, ...],
    lengths: NDArray[np.integer[Any]],
    thresholds: tuple[float, ...],
    options: RowOptions,
    batch_tokens: int,
    block_bytes: int,
    keep: Keep,
) -> Layout:
    most = int(lengths.max())
    layout = Layout(
        identifiers=tuple(sequence.identifier for sequence in sequences),
        sites=tuple(site.name for site in sites),
        layers=tuple(sorted({number for site in sites for number in site.layer_numbers})),
        n_heads=max(site.n_heads for site in sites),
        thresholds=thresholds,
        n_tokens=most,
        max_count=most,
        measures=options.measures,
        block=1,
        keep=keep,
    )
    mean = float(lengths.mean())
    by_tokens = batch_tokens // most if mean > _EVEN * most else int(_BATCHES_PER_BLOCK * batch_tokens / mean)
    bytes_each = sum(values.nbytes for values in layout.empty_block(1).values())
    return replace(layout, block=max(1, min(by_tokens, block_bytes // bytes_each, len(lengths))))
