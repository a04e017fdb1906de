"""Chunks of a cube's arrays: their bytes, which zarr would write alike, and digests that know their place.

Zarr writes a chunk through an event loop that all threads share, with a copy of it at each of its codecs. Chunks of a
cube always have the same three codecs, and are made here on the thread that has the values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from metastable.errors import InputError
from metastable.files import written_whole

__all__ = ["digest_of", "digests_of", "encode_chunk", "key_of", "put_chunk"]

_MOST_THREADS = 8


def key_of(array: zarr.Array[Any], number: int) -> str:
    """Return the place of a block's chunk below the folder of its array."""
    return array.metadata.encode_chunk_key((number, *(0,) * (array.ndim - 1)))


def encode_chunk(array: zarr.Array[Any], values: NDArray[Any]) -> list[bytes]:
    """Compress the values of one block and add their CRC-32C.

    Parameters
    ----------
    array : zarr.Array
        Cut into chunks along its first axis alone, with the codecs of a cube.
    values : ndarray, shape (n, ...)
        Those of a whole block, or the fewer of the last one, which is filled up with the array's fill value.

    Returns
    -------
    list of bytes
        One after another they are what zarr itself would write.

    Raises
    ------
    InputError
        If the array has other codecs.
    """
    codecs: Sequence[Any] = getattr(array.metadata, "codecs", ())
    if [type(codec) for codec in codecs] != [BytesCodec, ZstdCodec, Crc32cCodec]:
        raise InputError(f"the array {array.path!r} was not made by this program; run the study again")
    dtype = np.dtype(array.dtype).newbyteorder("<")
    whole = np.ascontiguousarray(values, dtype=dtype)
    if len(values) < array.chunks[0]:
        whole = np.full(array.chunks, array.fill_value, dtype=dtype)
        whole[: len(values)] = values
    zstd = codecs[1]
    compressed: bytes = Zstd(level=zstd.level, checksum=zstd.checksum).encode(whole)
    return [compressed, google_crc32c.value(compressed).to_bytes(4, "little")]


def put_chunk(place: Path, parts: Iterable[bytes]) -> None:
    """Write a file whole or not at all; several threads may, side by side."""
    with written_whole(place) as temporary, temporary.open("wb") as file:
        file.writelines(parts)


def digest_of(name: str, key: str, content: Iterable[bytes] | Path) -> int:
    """Return a digest of a chunk that knows its array and its place.

    Parameters
    ----------
    name : str
        The array.
    key : str
        As `key_of` gives it.
    content : iterable of bytes, or Path
        The chunk, or the file that it is in.

    Returns
    -------
    int
        The first 64 bits of a SHA-256.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    digest = hashlib.sha256(f"{name}/{key}".encode())
    if isinstance(content, Path):
        with content.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    else:
        for part in content:
            digest.update(part)
    return int.from_bytes(digest.digest()[:8], "big")


def digests_of(path: Path, arrays: Sequence[zarr.Array[Any]], numbers: Iterable[int]) -> Iterable[NDArray[np.uint64]]:
    """Digest the chunks of blocks on several threads, which may be ahead of the caller by one block.

    Parameters
    ----------
    path : Path
        Folder of the cube.
    arrays : sequence of zarr.Array
        Directly in it.
    numbers : iterable of int
        The blocks, from 0.

    Yields
    ------
    ndarray of uint64, shape (n_arrays,)
        Of each block in turn.

    Raises
    ------
    OSError
        If a chunk cannot be read.
    """

    def digest(array: zarr.Array[Any], number: int) -> int:
        key = key_of(array, number)
        return digest_of(array.basename, key, path / array.basename / key)

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        ahead = None
        for number in numbers:
            following = [pool.submit(digest, array, number) for array in arrays]
            if ahead is not None:
                yield np.array([one.result() for one in ahead], dtype=np.uint64)
            ahead = following
        if ahead is not None:
            yield np.array([one.result() for one in ahead], dtype=np.uint64)
