"""The cube on disk: labels, checksums, and what happens to a damaged chunk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import metastable
from metastable.errors import InputError
from metastable.extraction.batches import plan_blocks
from metastable.extraction.sequence_labels import SequenceLabels, labels_of
from metastable.extraction.store import (
    CountStore,
    Layout,
    create_store,
    load_counts,
    load_verified,
    open_store,
    publish,
    renewed_store,
)
from tests.extraction.oracle import text_sequences
from tests.faults import FAULTS, arm, forked

LAYOUT = Layout(
    identifiers=tuple(f"s{index}" for index in range(7)),
    sites=("encoder", "cross"),
    layers=(1, 2),
    n_heads=3,
    thresholds=(0.5, 0.9),
    n_tokens=5,
    max_count=5,
    measures=("entropy",),
    block=3,
)


def _filled(path: Path, seed: int = 0) -> CountStore:
    rng = np.random.default_rng(seed)
    store = create_store(path, LAYOUT, {"key": "k"})
    for block in plan_blocks(7, 3):
        arrays = LAYOUT.empty_block(block.stop - block.start)
        for values in arrays.values():
            values[:] = rng.integers(1, 5, values.shape)
        store.write(block, arrays)
    return store


def _deepest(path: Path) -> Path:
    return next(file for file in sorted(path.rglob("*")) if file.is_file())


def test_the_cube_is_labelled(tmp_path: Path) -> None:
    _filled(tmp_path / "counts.zarr")
    cube = metastable.load_counts(tmp_path / "counts.zarr")
    assert cube["count"].dims == ("sequence", "site", "layer", "head", "threshold", "token")
    assert cube["mean_count"].dims == ("sequence", "site", "layer", "head", "threshold")
    assert cube["entropy"].dims == ("sequence", "site", "layer", "head", "token")
    assert cube["mean_entropy"].dims == ("sequence", "site", "layer", "head")
    assert cube["count"].dtype == np.uint8
    assert cube["mean_count"].dtype == np.float64
    assert cube["sequence"].to_numpy().tolist() == list(LAYOUT.identifiers)
    assert cube["site"].to_numpy().tolist() == ["encoder", "cross"]
    assert cube["layer"].to_numpy().tolist() == [1, 2]
    assert cube["head"].to_numpy().tolist() == [1, 2, 3]
    assert cube["threshold"].to_numpy().tolist() == [0.5, 0.9]
    picked = cube["mean_count"].sel(sequence="s4", site="cross", layer=2, head=1, threshold=0.9)
    assert float(picked) == float(cube["mean_count"][4, 1, 1, 0, 1])


@pytest.mark.parametrize(("most", "dtype"), [(255, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_counts_take_the_smallest_type_that_holds_them(most: int, dtype: type) -> None:
    assert replace(LAYOUT, max_count=most).count_dtype == dtype


@pytest.mark.parametrize("name", ["count", "mean_count", "entropy", "mean_entropy"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove"])
def test_a_damaged_chunk_is_found(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / "counts.zarr"
    store = _filled(path)
    blocks = plan_blocks(7, 3)
    assert all(store.is_whole(block) for block in blocks)
    chunk = _deepest(path / name / "c" / "1")
    content = chunk.read_bytes()
    if damage == "remove":
        chunk.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        chunk.write_bytes({"flip": flipped, "cut": content[:middle], "empty": b""}[damage])
    assert [store.is_whole(block) for block in blocks] == [True, False, True]


def test_a_damaged_chunk_is_told_to_users_and_not_looked_for_again_by_the_run_that_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "counts.zarr"
    _filled(path)
    chunk = _deepest(path / "mean_entropy" / "c" / "2")
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"block 3 of mean_entropy is not as it was written; run the study again"):
        load_counts(path)
    labels = SequenceLabels({}, {})
    assert load_verified(path, labels).sizes["sequence"] == 7
    description = path / "count" / "zarr.json"
    description.write_text(description.read_text() + "\n")
    with pytest.raises(InputError, match="the description of count"):
        load_verified(path, labels)
    _deepest(path / "count" / "c" / "0").unlink()
    with pytest.raises(InputError, match="lacks 1 chunks"):
        load_verified(path, labels)


def test_a_block_is_whole_when_its_digests_are_written(tmp_path: Path) -> None:
    store = create_store(tmp_path / "counts.zarr", LAYOUT, {"key": "k"})
    block = plan_blocks(7, 3)[1]
    for name, values in LAYOUT.empty_block(3).items():
        store.write_array(block, name, values)
    assert not store.is_whole(block)
    store.write_digests(block)
    assert store.is_whole(block)
    # of what another process wrote the digests are read from the files, and are the same
    table = store.read("checks/digests")
    renewed_store(tmp_path / "counts.zarr", "k", LAYOUT).write_digests(block)
    np.testing.assert_array_equal(store.read("checks/digests"), table)


def test_an_unfilled_block_is_of_the_same_arrays() -> None:
    filled, unfilled = LAYOUT.empty_block(2), LAYOUT.unfilled_block(2)
    assert list(filled) == list(unfilled)
    assert all(filled[name].shape == unfilled[name].shape for name in filled)
    assert all(filled[name].dtype == unfilled[name].dtype for name in filled)


def test_a_missing_chunk_is_not_read_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "counts.zarr"
    _filled(path)
    _deepest(path / "count" / "c" / "2").unlink()
    with pytest.raises(InputError, match="lacks 1 chunks"):
        load_counts(path)


def test_damaged_labels_are_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "counts.zarr"
    store = _filled(path)
    chunk = _deepest(path / "sequence" / "c")
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(InputError, match="labels"):
        load_counts(path)
    store.write_labels(LAYOUT)
    assert load_counts(path)["sequence"].to_numpy().tolist() == list(LAYOUT.identifiers)


def test_what_sequences_are_takes_the_place_of_what_was_said_of_them(tmp_path: Path) -> None:
    store, sequences = _filled(tmp_path / "counts.zarr"), text_sequences([3, 4, 5])
    first, second = (
        labels_of(sequences),
        labels_of([replace(one, pair="p", covariates={"z": 2.0}) for one in sequences]),
    )
    for labels in (first, second, second, first):
        store.write_sequence_labels(labels)
        read = store.read_sequence_labels()
        assert read is not None
        assert read.equals(labels)


def test_a_block_of_fill_values_is_whole_when_it_was_written(tmp_path: Path) -> None:
    store = create_store(tmp_path / "counts.zarr", LAYOUT, {"key": "k"})
    block = plan_blocks(7, 3)[0]
    assert not store.is_whole(block)
    store.write(block, LAYOUT.empty_block(3))
    assert store.is_whole(block)


def test_publishing_replaces_the_old_cube_and_leaves_nothing_else(tmp_path: Path) -> None:
    _filled(tmp_path / "counts.zarr", seed=0)
    new = _filled(tmp_path / ".counts-new.zarr", seed=1).read("count")
    publish(tmp_path / ".counts-new.zarr", tmp_path / "counts.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["counts.zarr"]
    np.testing.assert_array_equal(load_counts(tmp_path / "counts.zarr")["count"], new)


def test_what_is_no_cube_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cube of counts at"):
        load_counts(tmp_path / "nowhere.zarr")
    (tmp_path / "other.zarr").mkdir()
    with pytest.raises(InputError, match="not a cube of counts"):
        load_counts(tmp_path / "other.zarr")
    assert open_store(tmp_path / "nowhere.zarr") is None
    (tmp_path / "other.zarr" / "zarr.json").write_text("{")
    assert open_store(tmp_path / "other.zarr") is None


@pytest.mark.parametrize("name", ["count", "mean_entropy", "threshold", "checks/digests"])
@pytest.mark.parametrize("damage", ["{", "", "null", "shape", "codecs", "gone"])
def test_a_damaged_description_is_made_anew_and_the_values_stay(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / "counts.zarr"
    store = _filled(path)
    before = {array: store.read(array) for array in ("count", "mean_count", "entropy", "mean_entropy")}
    place = path / name / "zarr.json"
    described = json.loads(place.read_text())
    if damage == "shape":
        described["shape"][0] += 1
    elif damage == "codecs":
        described["codecs"] = described["codecs"][:1]
    if damage == "gone":
        place.unlink()
    else:
        place.write_text(json.dumps(described) if damage in {"shape", "codecs"} else damage)
    with pytest.raises(InputError, match=r"damaged|not a cube|lacks"):
        load_counts(path)
    renewed = renewed_store(path, "k", LAYOUT)
    assert renewed is not None
    assert all(renewed.is_whole(block) for block in plan_blocks(7, 3))
    for array, values in before.items():
        np.testing.assert_array_equal(renewed.read(array), values)
    load_counts(path)


@pytest.mark.parametrize("name", ["count", "mean_entropy"])
@pytest.mark.parametrize("everything", [False, True])
def test_a_whole_chunk_in_the_place_of_another_is_noticed(tmp_path: Path, name: str, everything: bool) -> None:
    path = tmp_path / "counts.zarr"
    store = _filled(path)
    names = [*store.group.array_keys(), "checks/digests"] if everything else [name]
    for one in names:
        if (path / one / "c" / "1").exists():
            first, second = (_deepest(path / one / "c" / block) for block in "01")
            second.write_bytes(first.read_bytes())
    assert [store.is_whole(block) for block in plan_blocks(7, 3)] == [True, False, True]
    with pytest.raises(InputError, match=r"block 2 of .* is not as it was written"):
        load_counts(path)


def test_a_cube_of_an_older_version_is_given_its_digests(tmp_path: Path) -> None:
    path = tmp_path / "counts.zarr"
    _filled(path)
    shutil.rmtree(path / "checks")
    load_counts(path)
    _deepest(path / "count" / "c" / "1").write_bytes(b"damaged")
    renewed = renewed_store(path, "k", LAYOUT)
    assert renewed is not None
    assert [renewed.is_whole(block) for block in plan_blocks(7, 3)] == [True, False, True]


def test_a_cube_of_another_recipe_is_left_alone(tmp_path: Path) -> None:
    _filled(tmp_path / "counts.zarr")
    assert renewed_store(tmp_path / "counts.zarr", "other", LAYOUT) is None
    assert renewed_store(tmp_path / "nowhere.zarr", "k", LAYOUT) is None


SMALL = replace(LAYOUT, identifiers=("s0", "s1", "s2"), sites=("self",), layers=(1,), measures=(), block=2)


def _made(path: Path) -> None:
    """Make the cube, or go on with what is there, as an extraction does."""
    partial = path.with_name(".counts-k.zarr")
    store = renewed_store(path, "k", SMALL) or renewed_store(partial, "k", SMALL)
    store = store or create_store(partial, SMALL, {"key": "k"})
    store.write_labels(SMALL)
    for block in plan_blocks(3, 2):
        if not store.is_whole(block):
            arrays = SMALL.empty_block(block.stop - block.start)
            for number, values in enumerate(arrays.values()):
                values[:] = np.random.default_rng([number, block.start]).integers(1, 5, values.shape)
            store.write(block, arrays)
    publish(partial, path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cube_that_is_cut_short_at_any_event_of_writing_is_finished_by_the_next(tmp_path: Path, fault: str) -> None:
    _made(tmp_path / "goal" / "counts.zarr")
    goal = load_counts(tmp_path / "goal" / "counts.zarr").load()
    # a step of one takes minutes
    number, step, code = 1, 5 if fault == "kill" else 11, None
    while code != 0:
        path = tmp_path / f"at{number}" / "counts.zarr"
        create_store(path, SMALL, {"key": "of another recipe"})

        def fail(path: Path = path, number: int = number) -> None:
            arm(path.parent, number, fault)
            _made(path)

        code = forked(fail, tmp_path / "log")
        if path.exists() and open_store(path).key == "k":
            assert load_counts(path).load().identical(goal)
        _made(path)
        assert load_counts(path).load().identical(goal)
        assert [one.name for one in path.parent.iterdir()] == ["counts.zarr"]
        shutil.rmtree(path.parent)
        number += step
    assert number > 60
