"""fs-verity as the kernel's header has it; where the file system does not offer it, nothing changes."""

import errno
import struct
from pathlib import Path

import pytest

from pratique.store import verity


class Kernel:
    """Answers the two ioctls as include/uapi/linux/fsverity.h describes them."""

    def __init__(self, *, offered: bool = True) -> None:
        self.offered = offered
        self.on = False

    def ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        direction, size = request >> 30, (request >> 16) & 0x3FFF
        kind, number = chr((request >> 8) & 0xFF), request & 0xFF
        assert kind == "f"
        if not self.offered:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        if number == 133:
            assert (direction, size) == (1, 128)
            assert len(argument) == 128
            version, algorithm, block = struct.unpack_from("=III", argument)
            assert (version, algorithm, block) == (1, 1, 4096)
            assert not any(argument[12:])
            if self.on:
                raise OSError(errno.EEXIST, "File exists")
            self.on = True
            return argument
        assert number == 134
        assert (direction, size) == (3, 4)
        if not self.on:
            raise OSError(errno.ENODATA, "No data available")
        _, room = struct.unpack_from("=HH", argument)
        assert room == 32
        return struct.pack("=HH", 1, 32) + bytes(range(32))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "object"
    path.write_bytes(b"content")
    path.chmod(0o444)
    return path


def test_switches_on_and_reports(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verity.fcntl, "ioctl", Kernel().ioctl)
    expected = f"sha256:{bytes(range(32)).hex()}"
    assert verity.measured(file) is None
    assert verity.enable(file) == expected
    assert verity.measured(file) == expected
    assert verity.enable(file) == expected, "on already is on"


def test_not_offered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verity.fcntl, "ioctl", Kernel(offered=False).ioctl)
    assert verity.enable(file) is None
    assert verity.measured(file) is None


def test_real_file_system_either_way(file: Path) -> None:
    assert verity.enable(file) == verity.measured(file)
    assert file.read_bytes() == b"content"
