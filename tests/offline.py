"""Run the tests where there is no network but loopback: `make test-offline`.

Started inside `unshare -rn`, whose loopback is down: this brings it up (an ioctl, so that no further
program is needed) and hands over to pytest.
"""

import fcntl
import socket
import struct
import sys

import pytest

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x1 | 0x40


def _is_up(name: str) -> bool:
    with socket.socket() as control:
        request = struct.pack("16sh", name.encode(), 0).ljust(40, b"\0")
        flags: int = struct.unpack_from("16xH", fcntl.ioctl(control, SIOCGIFFLAGS, request))[0]
    return bool(flags & 0x1)


def main() -> int:
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP_RUNNING))
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if any(_is_up(name) for name in others):
        sys.exit("there is a network here; run this inside `unshare -rn`")
    return pytest.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
