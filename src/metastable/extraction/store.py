"""The cube of counts on disk: a labelled zarr store with checksums, written block by block."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from metastable.errors import InputError
from metastable.extraction.descriptions import describe
from metastable.extraction.sequence_labels import GROUPINGS, SequenceLabels
from metastable.measures import COUNT, measure_named

__all__ = ["CountStore", "Keep", "Layout", "create_store", "load_counts", "open_store", "publish"]

Keep = Literal["tokens", "means"]
# An array that every cube has, whatever it keeps.
_ALWAYS = f"mean_{COUNT.name}"
_COORDINATES = ("sequence", "site", "layer", "head", "threshold")
# What is raised by an array whose bytes are damaged or gone.
_DAMAGED = (ValueError, RuntimeError, OSError, KeyError)


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
        heads = (n_sequences, len(self.sites), len(self.layers), self.n_heads)
        arrays: dict[str, NDArray[Any]] = {}
        for name in (COUNT.name, *self.measures):
            measure = measure_named(name)
            rows = (*heads, len(self.thresholds)) if measure.of_threshold else heads
            fill, dtype = (0, self.count_dtype) if measure.whole else (np.nan, np.dtype(np.float32))
            if self.keep == "tokens":
                arrays[name] = np.full((*rows, self.n_tokens), fill, dtype=dtype)
            arrays[f"mean_{name}"] = np.full(rows, np.nan)
        return arrays


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
            except (ValueError, RuntimeError, OSError):
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
        groupings = {name: np.array(self._read_label(name).tolist(), dtype=str) for name in GROUPINGS}
        if "labels/covariates" not in self.group:
            return SequenceLabels(groupings, {})
        names: Any = self._array("labels/covariates").attrs["names"]
        return SequenceLabels(groupings, dict(zip(names, self._read_label("covariates").T, strict=True)))

    def _read_label(self, name: str) -> NDArray[Any]:
        if _n_missing(self._array(f"labels/{name}")):
            raise ValueError(f"the label {name} lacks its values")  # they would read as empty names
        return self.read(f"labels/{name}")

    def write(self, block: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write one block; each chunk is checked by its own CRC-32C."""
        for name, values in arrays.items():
            _write_whole(self._array(name), values, block)

    def is_whole(self, block: slice) -> bool:
        """Whether every chunk of a block is there and passes its checksum."""
        return all(self._chunk_is_whole(name, block) for name in self.group.array_keys() if name not in _COORDINATES)

    def _chunk_is_whole(self, name: str, block: slice) -> bool:
        array = self._array(name)
        index = (block.start // self.block, *(0,) * (array.ndim - 1))
        # A missing chunk would read as the fill value.
        if not (self.path / name / array.metadata.encode_chunk_key(index)).is_file():
            return False
        try:
            array[block]
        except (ValueError, RuntimeError, OSError):
            return False
        return True

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
    for name, values in layout.coordinates().items():
        _create_array(group, name, values.shape, values.shape, values.dtype, (name,))
    store.write_labels(layout)
    for name, values in layout.empty_block(1).items():
        dimensions = ["sequence", "site", "layer", "head"]
        if measure_named(name.removeprefix("mean_")).of_threshold:
            dimensions.append("threshold")
        if not name.startswith("mean_"):
            dimensions.append("token")
        shape = (len(layout.identifiers), *values.shape[1:])
        block = (min(layout.block, shape[0]), *values.shape[1:])
        _create_array(group, name, shape, block, values.dtype, tuple(dimensions))
    return store


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
    try:
        group = zarr.open_group(path, mode=mode, zarr_format=3)
        store = CountStore(path, group)
        whole = "key" in group.attrs and set(_COORDINATES) <= set(group.array_keys()) and store.n_sequences > 0
    except (OSError, ValueError, KeyError, RuntimeError):
        return None
    return store if whole else None


def publish(partial: Path, path: Path) -> None:
    """Put a complete cube in its place; what was there goes only after the new one stands.

    Parameters
    ----------
    partial : Path
        The complete cube.
    path : Path
        Its place, in the same folder.
    """
    former = path.with_name(f".{path.stem}-former{path.suffix}")
    if path.exists():
        if former.exists():
            shutil.rmtree(former)
        path.rename(former)
    partial.rename(path)
    if former.exists():
        shutil.rmtree(former)


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

        Along ``sequence`` lie the coordinates ``condition``, ``cluster``, ``pair``, ``level`` and ``context``,
        ``""`` where a sequence has none, and each covariate by its name, with ``covariate_`` before it where a variable
        has that name already. The attributes ``study``, ``a`` and ``b`` are the names of the study and of its two
        conditions, ``model`` that of the model; those of each variable and coordinate (``long_name``, ``units``,
        ``missing``) say what it is. A cube of an older version has neither these coordinates nor the three names;
        another run of its study writes them and counts nothing again.

    Raises
    ------
    InputError
        If there is no cube at `path`, or chunks of it are missing.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"there is no cube of counts at {path}; give the counts.zarr that a study wrote")
    store = open_store(path, "r")
    if store is None:
        raise InputError(f"{path} is not a cube of counts, or is damaged; run the study again to write it anew")
    _require_chunks(store)
    try:
        axes = {name: np.array(store.read(name).tolist(), dtype=str) for name in ("sequence", "site")}
        labels = store.read_sequence_labels()
    except _DAMAGED as error:
        raise InputError(f"the labels of {path} are damaged ({error}); run the study again") from error
    dataset: xr.Dataset = xr.open_zarr(path, chunks=None, consolidated=False)
    dataset = dataset.assign_coords(axes)
    if labels is None:
        return describe(dataset, {})
    called = labels.coordinate_names([*map(str, dataset.variables), *map(str, dataset.dims)])
    coordinates = {**labels.groupings, **{called[name]: values for name, values in labels.covariates.items()}}
    dataset = dataset.assign_coords({name: ("sequence", values) for name, values in coordinates.items()})
    return describe(dataset, {coordinate: name for name, coordinate in called.items()})


def _require_chunks(store: CountStore) -> None:
    missing = sum(_n_missing(array) for array in _arrays(store.group))
    if missing:
        raise InputError(f"{store.path} lacks {missing} chunks; run the study again to compute them anew")


def _arrays(group: zarr.Group) -> Iterable[zarr.Array[Any]]:
    return (array for _, array in group.arrays())


def _n_missing(array: zarr.Array[Any]) -> int:
    return int(array.nchunks - array.nchunks_initialized)
