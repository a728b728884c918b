"""Run the tests where there is no network but loopback: `make test-offline`.

Started inside `unshare -rn`, whose loopback is down: this brings it up (an ioctl, so that no further
program is needed) and hands over to pytest.
"""

import fcntl
import socket
import struct
import sys

import pytest

SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x1 | 0x40


def main() -> int:
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP_RUNNING))
    with socket.socket() as probe:
        probe.settimeout(3)
        if probe.connect_ex(("192.0.2.1", 9)) == 0:  # TEST-NET-1: nobody is there
            sys.exit("there is a network here; run this inside `unshare -rn`")
    return pytest.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
