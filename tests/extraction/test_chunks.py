"""Chunks that are made without zarr are those that zarr makes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from metastable.errors import InputError
from metastable.extraction import chunks
from metastable.extraction.chunks import digest_of, digests_of, encode_chunk, key_of, put_chunk

DTYPES = ["uint8", "uint16", "float32", "float64"]


def array_in(folder: Path, dtype: str, **more: Any) -> zarr.Array[Any]:
    group = zarr.open_group(folder, mode="a", zarr_format=3)
    fill = {"fill_value": np.nan} if dtype.startswith("float") else {}
    codecs = {"compressors": [ZstdCodec(level=1), Crc32cCodec()], **more}
    return group.create_array(
        "values", shape=(7, 2, 5), chunks=(3, 2, 5), dtype=dtype, overwrite=True, **fill, **codecs
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("number", "size"), [(0, 3), (1, 3), (2, 1)])
@pytest.mark.parametrize("empty", [False, True])
def test_a_chunk_is_the_one_that_zarr_writes(tmp_path: Path, dtype: str, number: int, size: int, empty: bool) -> None:
    array = array_in(tmp_path, dtype)
    values = np.full((size, 2, 5), array.fill_value, dtype=dtype)
    if not empty:
        values[:] = np.random.default_rng(0).integers(0, 200, values.shape)
    array.with_config({"write_empty_chunks": True})[3 * number : 3 * number + size] = values
    key = key_of(array, number)
    theirs = (tmp_path / "values" / key).read_bytes()
    # neither the order in memory nor the type that holds the values is seen
    for given in (values, np.asfortranarray(values), values.astype(np.float64)):
        assert b"".join(encode_chunk(array, given)) == theirs
    put_chunk(tmp_path / "values" / key, encode_chunk(array, values))
    np.testing.assert_array_equal(np.asarray(array[3 * number : 3 * number + size]), values)


def test_an_array_of_other_codecs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'values' was not made by this program"):
        encode_chunk(array_in(tmp_path, "uint8", compressors=[]), np.zeros((3, 2, 5), np.uint8))


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_chunk(tmp_path / "c" / "0", [b"former"])

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        put_chunk(tmp_path / "c" / "0", [b"later"])
    assert [file.name for file in (tmp_path / "c").iterdir()] == ["0"]
    assert (tmp_path / "c" / "0").read_bytes() == b"former"


@pytest.mark.parametrize("n_cores", [1, 4])
def test_digests_are_of_bytes_array_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_cores: int) -> None:
    monkeypatch.setattr(chunks.os, "cpu_count", lambda: n_cores)
    array = array_in(tmp_path, "float32")
    parts = encode_chunk(array, np.ones((3, 2, 5)))
    for number in range(3):
        put_chunk(tmp_path / "values" / key_of(array, number), parts)
    found = [int(row[0]) for row in digests_of(tmp_path, [array], range(3))]
    assert found == [digest_of("values", key_of(array, number), parts) for number in range(3)]
    assert len({*found, digest_of("others", key_of(array, 0), parts)}) == 4
    assert digest_of("values", key_of(array, 0), [b"".join(parts)]) == found[0]
    (tmp_path / "values" / key_of(array, 1)).unlink()
    with pytest.raises(FileNotFoundError):
        list(digests_of(tmp_path, [array], range(3)))
    assert list(digests_of(tmp_path, [array], [])) == []
