"""The cube of counts on disk: a labelled zarr store with checksums, written block by block."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from metastable.errors import InputError, one_line
from metastable.extraction.batches import plan_blocks
from metastable.extraction.chunks import digest_of, digests_of, encode_chunk, key_of, put_chunk
from metastable.extraction.descriptions import describe
from metastable.extraction.sequence_labels import GROUPINGS, LATER, SequenceLabels
from metastable.files import replace_folder, sha256_of, written_whole
from metastable.measures import COUNT, measure_named

__all__ = [
    "CountStore",
    "Keep",
    "Layout",
    "create_store",
    "fill_of",
    "load_counts",
    "load_verified",
    "open_store",
    "publish",
    "renewed_store",
]

Keep = Literal["tokens", "means"]
# An array that every cube has, whatever it keeps.
_ALWAYS = f"mean_{COUNT.name}"
_COORDINATES = ("sequence", "site", "layer", "head", "threshold")
# What zarr raises of an array whose bytes or whose description are damaged or gone.
_DAMAGED = (
    ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError, IndexError, AssertionError, ArithmeticError,
    RecursionError, MemoryError,
)  # fmt: skip
_CHECKS = "checks/digests"


@dataclass(frozen=True)
class Layout:
    """Labels and shape of a cube.

    Attributes
    ----------
    identifiers : tuple of str
        The sequences.
    sites : tuple of str
        Names of the sites.
    layers : tuple of int
        Numbers that the attention layers of the sites have in the model, ascending.
    n_heads : int
        The most that a layer has.
    thresholds : tuple of float
        Shares of the mass.
    n_tokens : int
        The most query tokens of a sequence.
    max_count : int
        The largest count possible: the most keys.
    measures : tuple of str
        Names of what is stored beside the count.
    block : int
        Sequences that are written together.
    keep : {"tokens", "means"}
        Whether the values of every token are stored, or the means of sequences alone.
    """

    identifiers: tuple[str, ...]
    sites: tuple[str, ...]
    layers: tuple[int, ...]
    n_heads: int
    thresholds: tuple[float, ...]
    n_tokens: int
    max_count: int
    measures: tuple[str, ...]
    block: int
    keep: Keep = "tokens"

    @property
    def count_dtype(self) -> np.dtype[Any]:
        """The smallest unsigned integer that holds every count."""
        return np.min_scalar_type(self.max_count)

    def coordinates(self) -> dict[str, NDArray[Any]]:
        """Labels of the axes by their names."""
        return {
            "sequence": np.array(self.identifiers, dtype=np.dtypes.StringDType()),
            "site": np.array(self.sites, dtype=np.dtypes.StringDType()),
            "layer": np.array(self.layers, dtype=np.int64),
            "head": np.arange(1, self.n_heads + 1),
            "threshold": np.array(self.thresholds),
        }

    def empty_block(self, n_sequences: int) -> dict[str, NDArray[Any]]:
        """Make the arrays of a block, as if no token queried."""
        shapes = self._shapes(n_sequences)
        return {name: np.full(shape, fill_of(dtype), dtype=dtype) for name, shape, dtype in shapes}

    def unfilled_block(self, n_sequences: int) -> dict[str, NDArray[Any]]:
        """Make the arrays of a block for someone who fills all of them, with any values."""
        return {name: np.empty(shape, dtype=dtype) for name, shape, dtype in self._shapes(n_sequences)}

    def _shapes(self, n_sequences: int) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any]]]:
        heads = (n_sequences, len(self.sites), len(self.layers), self.n_heads)
        for name in (COUNT.name, *self.measures):
            measure = measure_named(name)
            rows = (*heads, len(self.thresholds)) if measure.of_threshold else heads
            if self.keep == "tokens":
                yield name, (*rows, self.n_tokens), self.count_dtype if measure.whole else np.dtype(np.float32)
            yield f"mean_{name}", rows, np.dtype(np.float64)


def fill_of(dtype: np.dtype[Any]) -> float:
    """Return what an array of a cube holds where there is nothing: 0 of whole numbers, NaN of others."""
    return np.nan if dtype.kind == "f" else 0


@dataclass(frozen=True)
class CountStore:
    """An open cube.

    Attributes
    ----------
    path : Path
        Its folder.
    group : zarr.Group
        Its arrays.
    """

    path: Path
    group: zarr.Group
    # Of chunks that were written here, by block and array, until the digests of their block are.
    _digested: dict[tuple[int, str], int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def key(self) -> str:
        """What its content was computed from."""
        return str(self.group.attrs["key"])

    @property
    def block(self) -> int:
        """Sequences of a block."""
        return int(self._array(_ALWAYS).chunks[0])

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return int(self._array(_ALWAYS).shape[0])

    @property
    def attributes(self) -> dict[str, Any]:
        """What is recorded of how it was made."""
        return dict(self.group.attrs)

    def read(self, name: str) -> NDArray[Any]:
        """Read an array whole; a damaged chunk raises ValueError."""
        return np.asarray(self._array(name)[:])

    def update_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Record more of how it was made."""
        self.group.attrs.update(dict(attributes))

    def write_labels(self, layout: Layout) -> None:
        """Write the coordinates anew where they are damaged."""
        for name, values in layout.coordinates().items():
            try:
                whole = np.array_equal(self.read(name), values)
            except _DAMAGED:
                whole = False
            if not whole:
                self._array(name)[:] = values

    def write_sequence_labels(self, labels: SequenceLabels) -> None:
        """Write what the sequences are, unless it stands there already."""
        try:
            known = self.read_sequence_labels()
        except _DAMAGED:
            known = None
        if known is not None and known.equals(labels):
            return
        group = self.group.create_group("labels", overwrite=True)
        for name, names in labels.groupings.items():
            array = _create_array(group, name, names.shape, names.shape, np.dtypes.StringDType(), ("sequence",))
            _write_whole(array, names)
        if labels.covariates:
            table = np.column_stack(list(labels.covariates.values()))
            array = _create_array(group, "covariates", table.shape, table.shape, table.dtype, ("sequence", "covariate"))
            array.attrs["names"] = list(labels.covariates)
            _write_whole(array, table)

    def read_sequence_labels(self) -> SequenceLabels | None:
        """Read what the sequences are; None of a cube that an older version wrote, which does not say it."""
        if "labels" not in self.group:
            return None
        known = [name for name in GROUPINGS if name not in LATER or f"labels/{name}" in self.group]
        groupings = {name: np.array(self._read_label(name).tolist(), dtype=str) for name in known}
        if "labels/covariates" not in self.group:
            return SequenceLabels(groupings, {})
        names: Any = self._array("labels/covariates").attrs["names"]
        return SequenceLabels(groupings, dict(zip(names, self._read_label("covariates").T, strict=True)))

    def _read_label(self, name: str) -> NDArray[Any]:
        if _n_missing(self._array(f"labels/{name}")):
            raise ValueError(f"the label {name} lacks its values")  # they would read as empty names
        return self.read(f"labels/{name}")

    def write(self, block: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write one block: all its arrays, then their digests."""
        for name, values in arrays.items():
            self.write_array(block, name, values)
        self.write_digests(block)

    def write_array(self, block: slice, name: str, values: NDArray[Any]) -> None:
        """Write one array of a block; its chunk is checked by its own CRC-32C. Arrays may be written side by side."""
        array = self._array(name)
        number = block.start // array.chunks[0]
        key, parts = key_of(array, number), encode_chunk(array, values)
        put_chunk(self.path / name / key, parts)
        self._digested[number, name] = digest_of(name, key, parts)

    def is_whole(self, block: slice) -> bool:
        """Whether every chunk of a block is there, passes its checksum and is the one that was written there."""
        try:
            number = block.start // self.block
            known = np.asarray(self._array(_CHECKS)[number])
            # a missing chunk would read as the fill value
            return np.array_equal(known, self._digests(number)) and all(
                self._is_readable(name, block) for name in self._checked
            )
        except _DAMAGED:
            return False

    @property
    def _checked(self) -> list[str]:
        """Names of the arrays that have digests, in their order."""
        names: Any = self._array(_CHECKS).attrs["names"]
        return [str(name) for name in names]

    def _is_readable(self, name: str, block: slice) -> bool:
        try:
            self._array(name)[block]
        except _DAMAGED:
            return False
        return True

    def _digests(self, number: int) -> NDArray[np.uint64]:
        """Return a digest of every chunk of a block: of its bytes, its array and its place."""
        (digests,) = digests_of(self.path, [self._array(name) for name in self._checked], [number])
        return digests

    def write_digests(self, block: slice) -> None:
        """Write, of a block whose arrays are all written, a digest of each that knows its place: the block is whole.

        Those of arrays that `write_array` wrote are known; others are read.
        """
        number = block.start // self.block
        known = [self._digested.pop((number, name), None) for name in self._checked]
        row = self._digests(number) if None in known else np.array(known, dtype=np.uint64)
        _write_whole(self._array(_CHECKS), row[None], slice(number, number + 1))

    def damage(self, *, of_chunks: bool = True) -> str:
        """Say what of the cube is not as it was written; empty if all is, or if an older version wrote it.

        Parameters
        ----------
        of_chunks : bool
            Whether the chunks are read, or the descriptions and the table of checks alone.

        Returns
        -------
        str
            ``"the description of count"``, for instance.
        """
        if not (self.path / _CHECKS).exists():
            return ""
        try:
            known: Any = self._array(_CHECKS).attrs["descriptions"]
            for name, digest in known.items():
                if sha256_of(self.path / name / "zarr.json") != digest:
                    return f"the description of {name}"
            table = self.read(_CHECKS)
            names = self._checked
            arrays = [self._array(name) for name in names]
            found = digests_of(self.path, arrays, range(len(table) if of_chunks else 0))
            for number, digests in enumerate(found):
                others = np.flatnonzero(table[number] != digests)
                if others.size:
                    return f"block {number + 1} of {names[int(others[0])]}"
        except _DAMAGED:
            return "its table of checks"
        return ""

    def renew(self, layout: Layout) -> None:
        """Describe every array anew where its description is damaged or missing, and make what is missing.

        Parameters
        ----------
        layout : Layout
            What the cube is to be; the size of its blocks is what it was.
        """
        described = _descriptions(replace(layout, block=self._former_block(layout)))
        old = not (self.path / _CHECKS).exists()
        for name, content in described.items():
            place = self.path / name / "zarr.json"
            try:
                alike = json.loads(place.read_bytes()) == json.loads(content)
            except (OSError, ValueError, RecursionError):
                alike = False
            if not alike:
                with written_whole(place) as temporary:
                    temporary.write_bytes(content)
        if old:
            # a cube of an older version has no digests: those of its readable blocks are what is there
            for block in plan_blocks(self.n_sequences, self.block):
                if not self._n_absent(block) and all(self._is_readable(name, block) for name in self._checked):
                    self.write_digests(block)

    def _n_absent(self, block: slice) -> int:
        number = block.start // self.block
        paths = (self.path / name / key_of(self._array(name), number) for name in self._checked)
        return sum(not path.is_file() for path in paths)

    def _former_block(self, layout: Layout) -> int:
        """Return how many sequences most arrays have in a block: one description may be damaged."""
        sizes: Counter[int] = Counter()
        for name in layout.empty_block(1):
            try:
                sizes[int(self._array(name).chunks[0])] += 1
            except _DAMAGED:
                continue
        (size, _), *_ = sizes.most_common(1) or [(layout.block, 0)]
        return size if 1 <= size <= len(layout.identifiers) else layout.block

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self.group[name]
        if not isinstance(array, zarr.Array):
            raise InputError(f"{self.path} is not a cube of counts: {name!r} is not an array; run the study again")
        return array


def create_store(path: Path, layout: Layout, attributes: Mapping[str, Any]) -> CountStore:
    """Make an empty cube, replacing whatever is at `path`.

    Parameters
    ----------
    path : Path
        Its folder.
    layout : Layout
        Labels and shape.
    attributes : mapping
        JSON values to record; ``key`` among them.

    Returns
    -------
    CountStore
    """
    if path.exists():
        shutil.rmtree(path)
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes=dict(attributes))
    store = CountStore(path, group)
    _create_arrays(group, layout)
    _create_checks(path, group, layout)
    store.write_labels(layout)
    return store


def _create_arrays(group: zarr.Group, layout: Layout) -> None:
    for name, values in layout.coordinates().items():
        _create_array(group, name, values.shape, values.shape, values.dtype, (name,))
    for name, values in layout.empty_block(1).items():
        dimensions = ["sequence", "site", "layer", "head"]
        if measure_named(name.removeprefix("mean_")).of_threshold:
            dimensions.append("threshold")
        if not name.startswith("mean_"):
            dimensions.append("token")
        shape = (len(layout.identifiers), *values.shape[1:])
        block = (min(layout.block, shape[0]), *values.shape[1:])
        _create_array(group, name, shape, block, values.dtype, tuple(dimensions))


def _create_checks(path: Path, group: zarr.Group, layout: Layout) -> None:
    """Make the table of digests, a row for each block; it also knows the descriptions of all arrays by their hashes."""
    names = list(layout.empty_block(1))
    n_blocks = len(plan_blocks(len(layout.identifiers), layout.block))
    home, _, name = _CHECKS.partition("/")
    checks = group.require_group(home)
    table = _create_array(
        checks, name, (n_blocks, len(names)), (1, len(names)), np.dtype(np.uint64), ("block", "array")
    )
    hashes = {name: sha256_of(path / name / "zarr.json") for name in (*_COORDINATES, *names)}
    table.attrs.update({"names": names, "descriptions": hashes})


def _descriptions(layout: Layout) -> dict[str, bytes]:
    """Return the content of every zarr.json of a cube but its own, by the name of its group or array."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        group = zarr.open_group(path, mode="w", zarr_format=3)
        _create_arrays(group, layout)
        _create_checks(path, group, layout)
        files = sorted(path.rglob("zarr.json"))
        return {one.parent.relative_to(path).as_posix(): one.read_bytes() for one in files if one.parent != path}


def _write_whole(array: zarr.Array[Any], values: NDArray[Any], where: slice = slice(None)) -> None:
    """Write values; a chunk of fill values alone is written too, so that a missing one is known to be missing."""
    array.with_config({"write_empty_chunks": True})[where] = values


def _create_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    dimensions: tuple[str, ...],
) -> zarr.Array[Any]:
    fill: dict[str, Any] = {"fill_value": np.nan} if np.dtype(dtype).kind == "f" else {}
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        dimension_names=dimensions,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        **fill,
    )


def open_store(path: Path, mode: Literal["r", "r+"] = "r+") -> CountStore | None:
    """Open a cube; None where there is none that can be read.

    Parameters
    ----------
    path : Path
        Its folder.
    mode : {"r", "r+"}
        Whether it will be written to.
    """
    store = _opened(path, mode)
    try:
        whole = store is not None and set(_COORDINATES) <= set(store.group.array_keys()) and store.n_sequences > 0
    except _DAMAGED:
        return None
    return store if whole else None


def renewed_store(path: Path, key: str, layout: Layout) -> CountStore | None:
    """Open the cube of a recipe to go on with it, what is damaged of its descriptions made anew.

    Parameters
    ----------
    path : Path
        Its folder.
    key : str
        Of the recipe.
    layout : Layout
        What the cube is to be.

    Returns
    -------
    CountStore or None
        None where there is none of this recipe.
    """
    store = _opened(path, "r+")
    if store is None or store.key != key:
        return None
    store.renew(layout)
    return store


def _opened(path: Path, mode: Literal["r", "r+"]) -> CountStore | None:
    try:
        store = CountStore(path, zarr.open_group(path, mode=mode, zarr_format=3))
        known = "key" in store.group.attrs
    except _DAMAGED:
        return None
    return store if known else None


def publish(partial: Path, path: Path) -> None:
    """Put a complete cube in its place; what was there goes only after the new one stands.

    Parameters
    ----------
    partial : Path
        The complete cube.
    path : Path
        Its place, in the same folder.
    """
    replace_folder(partial, path)


def load_counts(path: str | Path) -> xr.Dataset:
    """Open a cube of counts.

    Parameters
    ----------
    path : str or Path
        Folder of the cube, ``counts.zarr``.

    Returns
    -------
    xarray.Dataset
        ``count`` (sequence, site, layer, head, threshold, token), unsigned integers, 0 where a token is
        no query; ``mean_count`` (sequence, site, layer, head, threshold) float64, NaN where a site has no
        such layer or head; ``layer`` is the layer's number in the model, from 1, so that a hybrid lacks the numbers of
        the layers without softmax attention; and for each further measure ``NAME`` (sequence, site, layer, head, token)
        float32 and ``mean_NAME`` (sequence, site, layer, head) float64, both with thresholds and whole numbers where
        `metastable.measures` says so. Values are read when they are used. A cube of means (its
        attribute ``keep`` is ``"means"``) has the ``mean_...`` alone.

        Along ``sequence`` lie the coordinates ``condition``, ``cluster``, ``pair``, ``level``, ``context`` and
        ``packing``, ``""`` where a sequence has none, and each covariate by its name, with ``covariate_`` before it
        where a variable has that name already. The attributes ``study``, ``a`` and ``b`` are the names of the study and
        of its two conditions, ``model`` that of the model; those of each variable and coordinate (``long_name``,
        ``units``, ``missing``) say what it is. A cube of an older version has neither these coordinates nor the three
        names; another run of its study writes them and counts nothing again.

    Raises
    ------
    InputError
        If there is no cube at `path`, or chunks of it are missing.
    """
    return _load(Path(path))


def load_verified(path: Path, labels: SequenceLabels) -> xr.Dataset:
    """Open a cube whose blocks this run wrote, or found whole, as `load_counts` does, without reading them again.

    Its sequences are what `labels` says, which the run wrote too, or found.

    Raises
    ------
    InputError
        If chunks are missing, or descriptions are damaged.
    """
    return _load(path, labels)


def _load(path: Path, known: SequenceLabels | None = None) -> xr.Dataset:
    if not path.is_dir():
        raise InputError(f"there is no cube of counts at {path}; give the counts.zarr that a study wrote")
    store = open_store(path, "r")
    if store is None:
        raise InputError(f"{path} is not a cube of counts, or is damaged; run the study again to write it anew")
    _require_chunks(store)
    if damaged := store.damage(of_chunks=known is None):
        raise InputError(f"{path} is damaged: {damaged} is not as it was written; run the study again to mend it")
    try:
        axes = {name: np.array(store.read(name).tolist(), dtype=str) for name in ("sequence", "site")}
        labels = store.read_sequence_labels() if known is None else known
    except _DAMAGED as error:
        raise InputError(f"the labels of {path} are damaged ({one_line(error)}); run the study again") from error
    try:
        dataset: xr.Dataset = xr.open_zarr(path, chunks=None, consolidated=False)
    except _DAMAGED as error:
        raise InputError(f"{path} is damaged ({one_line(error)}); run the study again to mend it") from error
    dataset = dataset.assign_coords(axes)
    if labels is None:
        return describe(dataset, {})
    called = labels.coordinate_names([*map(str, dataset.variables), *map(str, dataset.dims)])
    coordinates = {**labels.groupings, **{called[name]: values for name, values in labels.covariates.items()}}
    dataset = dataset.assign_coords({name: ("sequence", values) for name, values in coordinates.items()})
    return describe(dataset, {coordinate: name for name, coordinate in called.items()})


def _require_chunks(store: CountStore) -> None:
    try:
        missing = sum(_n_missing(array) for array in _arrays(store.group))
    except _DAMAGED as error:
        raise InputError(f"{store.path} is damaged ({one_line(error)}); run the study again to mend it") from error
    if missing:
        raise InputError(f"{store.path} lacks {missing} chunks; run the study again to compute them anew")


def _arrays(group: zarr.Group) -> Iterable[zarr.Array[Any]]:
    return (array for _, array in group.arrays())


def _n_missing(array: zarr.Array[Any]) -> int:
    return int(array.nchunks - array.nchunks_initialized)
