"""Artifacts come back as they were written, or not at all; snapshots fall back to the last good one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from endcap.artifacts import DIGEST, MAGIC, Header, Placed, read_artifact, write_artifact
from endcap.errors import ArtifactError
from endcap.runtime import Runtime
from endcap.stores.snapshots import FileSnapshotter
from endcap.types import Arrays

DTYPES = ["<f4", "<f8", "<i1", "<i2", "<i4", "<i8", "|u1", "<u4", "|b1", "|S5", "<U3"]
some_arrays = st.dictionaries(
    st.text(min_size=1, max_size=12),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            np.dtype(dtype),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
            elements=st.text("abc", max_size=3) if dtype == "<U3" else None,
        )
    ),
    max_size=5,
)


def sample() -> Arrays:
    return {"a": np.arange(7, dtype=np.int16), "b": np.full((3, 2), 0.5), "empty": np.zeros((0, 4), np.int32)}


def assert_same(got: Arrays, expected: Arrays) -> None:
    assert list(got) == list(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()
        assert got[name].flags.writeable
        assert got[name].flags.aligned


@given(some_arrays)
@settings(max_examples=60, deadline=None)
def test_any_arrays_come_back_byte_for_byte(tmp_path_factory: pytest.TempPathFactory, arrays: Arrays) -> None:
    path = tmp_path_factory.mktemp("artifact") / "x"
    write_artifact(path, arrays, "s1", {"offset": 5})
    back = read_artifact(path, "s1")
    assert_same(back.arrays, arrays)
    assert back.meta == {"offset": 5}


def test_views_and_foreign_layouts_are_stored_as_plain_arrays(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.int32).reshape(4, 6)
    given_arrays: Arrays = {"strided": base[:, ::2], "fortran": np.asfortranarray(base), "big": base.astype(">i4")}
    write_artifact(tmp_path / "x", given_arrays, "s")
    for name, array in read_artifact(tmp_path / "x").arrays.items():
        assert np.array_equal(array, given_arrays[name])
        assert array.flags.c_contiguous
        assert array.dtype == np.int32


def test_objects_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="dtype object"):
        write_artifact(tmp_path / "x", {"evil": np.array([{}], dtype=object)}, "s")
    assert not (tmp_path / "x").exists()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path / "x", sample(), "s1")
    with pytest.raises(ArtifactError, match="'s1', expected 's2'"):
        read_artifact(tmp_path / "x", "s2")
    assert read_artifact(tmp_path / "x").schema == "s1"


def test_every_truncation_and_every_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_artifact(path, sample(), "s", {"k": "v"})
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ArtifactError):
            read_artifact(path)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(ArtifactError):
            read_artifact(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(ArtifactError):
        read_artifact(path)


def sealed(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A file with a right digest around whatever it is given: what an attacker, not an accident, would write."""
    data = MAGIC + (len(header) if length is None else length).to_bytes(8, "little") + header
    data += bytes(-len(data) % 64) + body
    return data + hashlib.sha256(data).digest()


def one(dtype: str, shape: tuple[int, ...], at: int) -> bytes:
    return msgspec.json.encode(Header(schema="s", arrays=[Placed("a", dtype, shape, at)]))


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"not json", None),
        (b"[]", None),
        (b"{}", None),
        (b"{}", 1 << 62),
        (b"{}", 10_000),
        (one("<i8", (9,), 0), None),
        (one("<i8", (8,), 8), None),
        (one("<i8", (-1,), 0), None),
        (one("<i8", (1,), -8), None),
        (one("<i8", (1 << 62, 1 << 62), 0), None),
        (one("|O", (1,), 0), None),
        (one("<M8[ns]", (1,), 0), None),
        (one("nonsense", (1,), 0), None),
        (one("i8,O", (1,), 0), None),
    ],
)
def test_a_well_signed_lie_in_the_header_is_refused(tmp_path: Path, header: bytes, length: int | None) -> None:
    (tmp_path / "x").write_bytes(sealed(header, bytes(64), length))
    with pytest.raises(ArtifactError):
        read_artifact(tmp_path / "x")


def test_the_sealing_of_the_lies_is_right_for_the_truth(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(sealed(one("<i8", (8,), 0), bytes(64)))
    assert read_artifact(tmp_path / "x").arrays["a"].tolist() == [0] * 8
    assert DIGEST == 32


def test_a_missing_file_and_a_missing_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nothing-here"):
        read_artifact(tmp_path / "nothing-here")
    with pytest.raises(ArtifactError, match="cannot write"):
        write_artifact(tmp_path / "no" / "x", sample(), "s")


class Crash(Exception):
    pass


def crash_at(point: str) -> Callable[[str], None]:
    def fault(passed: str) -> None:
        if passed == point:
            raise Crash

    return fault


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_artifact(path, {"a": np.array([1])}, "s")
    with pytest.raises(Crash):
        write_artifact(path, {"a": np.array([2])}, "s", fault=crash_at("artifact.before_rename"))
    assert read_artifact(path).arrays["a"].tolist() == [1]
    write_artifact(path, {"a": np.array([3])}, "s")
    assert read_artifact(path).arrays["a"].tolist() == [3]


# ---------------------------------------------------------------- snapshots


def state(k: int) -> Arrays:
    counts: NDArray[Any] = np.full(100, k, np.int64)
    return {"counts": counts}


def test_the_newest_snapshot_of_the_schema_is_loaded(tmp_path: Path) -> None:
    snapshots = FileSnapshotter(tmp_path / "new" / "folder", keep=5)
    assert snapshots.load("s") is None
    snapshots.save(10, state(1), "s")
    snapshots.save(20, state(2), "s")
    snapshots.save(30, state(3), "other")
    got = snapshots.load("s")
    assert got is not None
    assert got[0] == 20
    assert_same(got[1], state(2))
    assert snapshots.load("third") is None


def test_a_damaged_snapshot_is_skipped_for_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    snapshots = FileSnapshotter(tmp_path, keep=3)
    for k in (1, 2, 3):
        snapshots.save(k, state(k), "s")
    newest, middle, _ = snapshots.files()
    newest.write_bytes(newest.read_bytes()[:-100])
    damaged = bytearray(middle.read_bytes())
    damaged[200] ^= 1
    middle.write_bytes(damaged)
    got = snapshots.load("s")
    assert got is not None
    assert got[0] == 1
    assert caplog.text.count("snapshot skipped") == 2


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    snapshots = FileSnapshotter(tmp_path, keep=2)
    for k in range(1, 6):
        snapshots.save(k, state(k), "s")
    assert [path.name for path in snapshots.files()] == [f"{k:020d}.snapshot" for k in (5, 4)]


def test_a_snapshot_of_a_restored_log_outranks_one_of_its_former_life(tmp_path: Path) -> None:
    snapshots = FileSnapshotter(tmp_path, keep=2)
    for k in (1_000, 2_000):
        snapshots.save(k, state(k), "s")
    for age, path in enumerate(snapshots.files(), 1):
        os.utime(path, ns=(1_700_000_000_000_000_000 - age, 1_700_000_000_000_000_000 - age))
    snapshots.save(500, state(500), "s")
    got = snapshots.load("s")
    assert got is not None
    assert got[0] == 500


def test_a_crash_before_the_rename_costs_nothing_and_is_tidied_up(tmp_path: Path) -> None:
    FileSnapshotter(tmp_path).save(1, state(1), "s")
    with pytest.raises(Crash):
        FileSnapshotter(tmp_path, runtime=Runtime(fault=crash_at("artifact.before_rename"))).save(2, state(2), "s")
    assert len(list(tmp_path.glob(".*.part"))) == 1
    snapshots = FileSnapshotter(tmp_path)
    got = snapshots.load("s")
    assert got is not None
    assert got[0] == 1
    snapshots.save(3, state(3), "s")
    assert not list(tmp_path.glob(".*.part"))


def test_clearing_leaves_nothing(tmp_path: Path) -> None:
    snapshots = FileSnapshotter(tmp_path)
    snapshots.save(1, state(1), "s")
    snapshots.clear()
    assert list(tmp_path.iterdir()) == []
    assert snapshots.load("s") is None
