"""The extraction of a study: sequences and a model in, a cube of counts out."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import asdict, dataclass, field, replace
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
from metastable.extraction.keys import FORMAT, extraction_key
from metastable.extraction.mass import check_thresholds
from metastable.extraction.row_kernels import choose_row_kernel
from metastable.extraction.sequence_labels import SequenceLabels, labels_of
from metastable.extraction.store import (
    CountStore,
    Keep,
    Layout,
    create_store,
    load_verified,
    open_store,
    publish,
    renewed_store,
)
from metastable.extraction.summarizing import RowOptions, check_model, check_needs, check_row_options, measures_of_run
from metastable.models.capture import ForwardError, reading
from metastable.models.encoders import fit_lengths
from metastable.models.linear_layers import choose_linear_library
from metastable.models.positions import read_more
from metastable.models.sites import Site
from metastable.stopping import finished_first

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder
    from metastable.study import Sequence, Study

__all__ = ["Extraction", "check_sequences", "extract"]

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
        find = cache(partial(_find, path, layout, reader, options, _names(study), processes))
        if processes.size == 1 and runs_ahead(torch.device(encoder.device)) and not _is_begun(path):
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


@dataclass(frozen=True)
class _Found:
    """The store of an extraction, and what there is of it.

    Attributes
    ----------
    key : str
        Of the extraction.
    labels : SequenceLabels
        What its sequences are.
    store : CountStore
        At its place if it is a finished one, beside it otherwise.
    finished : bool
        Whether it is.
    missing : list of slice
        Blocks that it lacks.
    """

    key: str
    labels: SequenceLabels
    store: CountStore
    finished: bool
    missing: list[slice]


def _find(
    path: Path, layout: Layout, reader: Reader, options: RowOptions, names: Mapping[str, str], processes: Processes
) -> _Found:
    """Find the store of an extraction, or make it."""
    encoder, sequences = reader.encoder, reader.sequences
    key = extraction_key(
        encoder,
        sequences,
        thresholds=layout.thresholds,
        options=options,
        features=reader.features,
        keep=layout.keep,
    )
    beside = path.with_name(f".{path.stem}-{key[:16]}{path.suffix}")
    labels = labels_of(sequences)
    attributes = {**_attributes(encoder, key, options), "keep": layout.keep}
    finished, missing = processes.from_first(lambda: _survey(path, beside, key, layout, attributes, labels, names))
    return _Found(key, labels, _require_store(path if finished else beside), finished, missing)


def _is_begun(path: Path) -> bool:
    """Whether there is a cube, or a part of one, that an extraction may go on from."""
    return path.exists() or any(path.parent.glob(f".{glob.escape(path.stem)}-*"))


def _survey(
    path: Path,
    partial: Path,
    key: str,
    layout: Layout,
    attributes: Mapping[str, Any],
    labels: SequenceLabels,
    names: Mapping[str, str],
) -> tuple[bool, list[slice]]:
    """Find or make the store; whether it is a finished one, and the blocks that it lacks."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, where the cube of counts is to be a folder; move it away")
    former = path.with_name(f".{path.stem}-former{path.suffix}")
    if former.exists() and not path.exists():
        former.replace(path)  # a run was killed between two renamings
    try:
        finished = renewed_store(path, key, layout)
        store = finished or renewed_store(partial, key, layout)
        known = store is not None
        if store is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            store = create_store(partial, layout, attributes)
        else:
            store.write_labels(layout)
        # the key does not say what the sequences are called, so that a finished cube may be of other names
        store.write_sequence_labels(labels)
        if any(store.attributes.get(name) != value for name, value in names.items()):
            store.update_attributes(names)
    except OSError as error:
        raise InputError(
            f"the cube of counts cannot be written to {path.parent} ({error.strerror}); choose another folder"
        ) from error
    blocks = plan_blocks(store.n_sequences, store.block)
    return finished is not None, [block for block in blocks if not (known and store.is_whole(block))]


def _require_store(path: Path) -> CountStore:
    store = open_store(path)
    if store is None:
        raise InputError(f"the cube of counts at {path} is gone; let all processes see the same folder")
    return store


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
    counter: Counter, reader: Reader, find: Callable[[], _Found], blocks: list[slice], progress: Callable[[int], None]
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


def _attributes(encoder: Encoder, key: str, options: RowOptions) -> dict[str, Any]:
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
        **asdict(options),
    }


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


def _names(study: Study | None) -> dict[str, str]:
    """Return what a cube says of its study: its name and its conditions a and b, whose difference is a - b."""
    if study is None:
        return {}
    a, b = study.conditions
    return {"study": study.name, "a": a.name, "b": b.name}


def check_sequences(
    encoder: Encoder, sequences: SequenceOf[Sequence], options: RowOptions, batch_tokens: int | None
) -> None:
    """Refuse sequences that a model cannot read, or that lack what the row options ask for.

    Raises
    ------
    InputError
        Naming the sequence and what would do.
    """
    if not sequences:
        raise InputError("there are no sequences to extract; give at least one")
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"batch_tokens is {batch_tokens}; give at least 1")
    check_needs(options.measures, sequences)
    check_model(options.measures, encoder)
    vocabulary = getattr(encoder.model.config.get_text_config(), "vocab_size", None)
    seen: set[str] = set()
    for sequence in sequences:
        fault = None
        if sequence.identifier in seen:
            fault = "is there twice; give each sequence its own identifier"
        elif len(sequence.token_ids) > encoder.max_length:
            fault = (
                f"has {len(sequence.token_ids)} tokens but model {encoder.model_id!r} reads at most "
                f"{encoder.max_length}; shorten it{read_more(encoder.model.config, encoder.max_length)}"
            )
        elif (unknown := _unknown_id(sequence.token_ids, vocabulary)) is not None:
            fault = (
                f"has token id {unknown} but the vocabulary of model {encoder.model_id!r} "
                f"has {vocabulary} tokens, from 0; tokenize it with the tokenizer of that model"
            )
        elif options.queries == "special" and all(word >= 0 for word in sequence.word_index):
            fault = "has no special token that could query; choose queries all or words"
        elif "words" in (options.queries, options.keys) and all(word < 0 for word in sequence.word_index):
            fault = "has no token of a word; leave it out, or choose queries and keys all"
        if fault is not None:
            raise InputError(f"sequence {sequence.identifier!r} {fault}")
        seen.add(sequence.identifier)


def _unknown_id(token_ids: SequenceOf[int], vocabulary: int | None) -> int | None:
    """Return a token id that a vocabulary does not have; None if it has all of them, or is not known."""
    if not token_ids or vocabulary is None:
        return None
    least, largest = min(token_ids), max(token_ids)
    return least if least < 0 else largest if largest >= vocabulary else None


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
