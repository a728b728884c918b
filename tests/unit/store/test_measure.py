"""One read: the same digests as the libraries give, whatever the size, and a copy of what was hashed."""

import hashlib
import os
from pathlib import Path

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.core.ids import Digest, RelPath
from pratique.errors import StorageError
from pratique.store import measure as measuring
from pratique.store.measure import Measured, Wanted, measure, measure_all, measure_bytes

NAME = RelPath("file")
KIB = 1024


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and chunks of a size that a test can write."""
    monkeypatch.setattr(measuring, "BLOCK_BYTES", 4 * KIB)
    monkeypatch.setattr(measuring, "AHEAD_BYTES", 4 * KIB)
    monkeypatch.setattr(measuring, "LARGE_BYTES", 8 * KIB)
    monkeypatch.setattr(measuring, "CHUNK_BYTES", 16 * KIB)


def expected(data: bytes, chunk: int) -> tuple[str, tuple[str, ...]]:
    pieces = (data[at : at + chunk] for at in range(0, len(data), chunk))
    return hashlib.sha256(data).hexdigest(), tuple(blake3.blake3(p).hexdigest() for p in pieces)


def measured(path: Path, wanted: Wanted = Wanted.BOTH, **options: object) -> Measured:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return measure(descriptor, NAME, wanted, **options)  # type: ignore[arg-type]
    finally:
        os.close(descriptor)


EDGES = [0, 1, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 50 * KIB]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("size", EDGES)
def test_digests_and_copy(tmp_path: Path, size: int, ahead: bool) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    copy = bytearray()
    found = measured(path, sink=copy.extend, ahead=ahead)
    whole, chunks = expected(data, 16 * KIB)
    assert (found.size, found.sha256, found.chunks) == (size, whole, chunks)
    assert bytes(copy) == data


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("size", EDGES)
def test_memory_and_file_agree(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert measure_bytes(NAME, data, Wanted.BOTH) == measured(tmp_path / "file")


def test_real_sizes(tmp_path: Path) -> None:
    data = os.urandom(2**20) * 9
    (tmp_path / "file").write_bytes(data)
    whole, chunks = expected(data, 64 * 2**20)
    found = measured(tmp_path / "file")
    assert (found.sha256, found.chunks) == (whole, chunks)


def test_fips_computes_no_blake3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden:
        def update(self, data: bytes) -> None:
            raise AssertionError("BLAKE3 was used")

    monkeypatch.setattr(measuring.blake3, "blake3", Forbidden)
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert measured(tmp_path / "file", Wanted.SHA256).chunks == ()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 700))
def test_file_that_grows_while_it_is_read(data: bytes, more: int) -> None:
    """The answer is about bytes that were read, all of them; nothing is cut off at the old size."""
    descriptor = os.memfd_create("grows")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        grown = b"+" * more
        real, first = os.fstat, []

        def stat_then_grow(fd: int) -> os.stat_result:
            found = real(fd)
            if not first:
                first.append(fd)
                os.pwrite(fd, grown, len(data))
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measuring.os, "fstat", stat_then_grow)
            found = measure(descriptor, NAME, Wanted.BOTH)
        assert found.size == len(data) + more
        assert found.sha256 == hashlib.sha256(data + grown).hexdigest()
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("size", [100, 40 * KIB])
@pytest.mark.parametrize("ahead", [False, True])
def test_read_error_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, ahead: bool
) -> None:
    (tmp_path / "file").write_bytes(bytes(size))

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(measuring.os, "readv", fail)
    with pytest.raises(StorageError, match="cannot be read") as caught:
        measured(tmp_path / "file", ahead=ahead)
    assert "damaged" in caught.value.hint


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("size", [100, 40 * KIB])
@pytest.mark.parametrize("ahead", [False, True])
def test_error_of_the_sink_comes_through(tmp_path: Path, size: int, ahead: bool) -> None:
    (tmp_path / "file").write_bytes(bytes(size))

    def full(_: memoryview) -> None:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="full"):
        measured(tmp_path / "file", sink=full, ahead=ahead)


def test_results_are_in_the_order_asked_for() -> None:
    names = [RelPath(f"f{n:04}") for n in range(1000)]
    sizes = [(name, 2**23 if name.endswith("7") else 10) for name in names]

    def work(path: RelPath, *, ahead: bool) -> Measured:
        return Measured(path, 1, Digest("0" * 64), ())

    assert [m.path for m in measure_all(sizes, work)] == names


def test_nothing_to_measure() -> None:
    assert measure_all([], lambda path, ahead: pytest.fail("called")) == []


def test_first_error_stops_the_rest() -> None:
    seen: list[RelPath] = []

    def work(path: RelPath, *, ahead: bool) -> Measured:
        seen.append(path)
        raise StorageError(f"{path} cannot be read")

    names = [(RelPath(f"f{n}"), 2**24) for n in range(500)]
    with pytest.raises(StorageError):
        measure_all(names, work)
    assert len(seen) < 500


def test_progress_adds_up_to_the_total(tmp_path: Path) -> None:
    class Count:
        total = done = 0

        def begin(self, what: str, total: int | None) -> None:
            self.total = total

        def advance(self, count: int) -> None:
            self.done += count

    count = Count()
    (tmp_path / "file").write_bytes(bytes(5 * 2**20))

    def work(path: RelPath, *, ahead: bool) -> Measured:
        return measured(tmp_path / path, progress=count)  # type: ignore[arg-type]

    measure_all([(NAME, 5 * 2**20)], work, progress=count)
    assert count.done == count.total == 5 * 2**20
