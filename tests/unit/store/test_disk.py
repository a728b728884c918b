"""Writes: one step or none, exact modes, and a clear word when the disk is full."""

import errno
import os
from pathlib import Path

import pytest

from pratique.errors import StorageError
from pratique.store import disk


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        disk.write_new(tmp_path / "file", b"x")
        disk.make_folder(tmp_path / "folder")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.ENOTSUP])
def test_a_medium_without_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """An approval or a page can be put on a stick that belongs to root; a secret cannot."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(disk.os, "fchmod", refuse)
    disk.replace_file(tmp_path / "approver.sig", b"x")
    assert (tmp_path / "approver.sig").read_bytes() == b"x"
    for mode in (0o600, 0o444):
        with pytest.raises(OSError, match=os.strerror(code)):
            disk.replace_file(tmp_path / "secret", b"x", mode)
    assert [path.name for path in tmp_path.iterdir()] == ["approver.sig"]


def test_a_mode_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk.os, "fchmod", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        disk.replace_file(tmp_path / "page", b"x")


def test_new_means_new(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        disk.write_new(tmp_path / "file", b"new")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        disk.write_new(tmp_path / "link", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_replace_is_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record"
    disk.replace_file(path, b"one")
    disk.replace_file(path, b"two")
    assert path.read_bytes() == b"two"

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "write", fail)
    with pytest.raises(OSError, match="No space"):
        disk.replace_file(path, b"three")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_does_not_follow_a_link_at_its_scratch_name(tmp_path: Path) -> None:
    path = tmp_path / "record"
    (tmp_path / f".record.{os.getpid()}.new").symlink_to(tmp_path / "victim")
    disk.replace_file(path, b"data")
    assert not (tmp_path / "victim").exists()
    assert path.read_bytes() == b"data"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_said(code: int) -> None:
    with pytest.raises(StorageError, match="the disk is full: X") as caught, disk.storing("X"):
        raise OSError(code, os.strerror(code))
    assert "free some space" in caught.value.hint


def test_other_errors_are_said() -> None:
    with (
        pytest.raises(StorageError, match="X could not be written: Input/output"),
        disk.storing("X"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(disk.os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    disk.write_new(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_removes_read_only_folders(tmp_path: Path) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o555)
    (tmp_path / "a").chmod(0o555)
    disk.remove_tree(tmp_path / "a")
    disk.remove_tree(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_removing_a_link_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").touch()
    (tmp_path / "link").symlink_to("real")
    disk.remove_tree(tmp_path / "link")
    assert (tmp_path / "real/file").exists()


def test_lock_on_a_folder(tmp_path: Path) -> None:
    with disk.opened_lock(tmp_path), pytest.raises(BlockingIOError):
        disk.opened_lock(tmp_path, wait=False).__enter__()
    with disk.opened_lock(tmp_path, wait=False):
        pass


def test_flush_without_syncfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(disk.ctypes, "CDLL", lambda *_, **__: object())
    monkeypatch.setattr(disk.os, "sync", lambda: called.append(True))
    disk.flush_filesystem(tmp_path)
    assert called == [True]
