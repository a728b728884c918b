"""The process in which hf_xet runs: `python -I -m pratique.fetch.xet_child`; imported by nobody.

hf_xet is a native library that reads a server's bytes, keeps logs and caches, reports what it did and
cannot be interrupted. Here it has no token but the storage's, no file that it could write, no report
to send, small buffers, and no way out but the proxy in its environment (outlet.py). The request comes as
JSON on descriptor 0; the file's bytes go to 1, and nothing else. When 0 ends, so does this process.
"""

import json
import os
import resource
import signal
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

_MIB: Final = 1 << 20
_BUFFER: Final = 32 * _MIB
_MEMORY: Final = 1 << 30
_LONGEST_REQUEST: Final = 64 << 10


def main() -> int:
    """Write the bytes asked for. Returns 0 if they were all there, as far as hf_xet can tell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    line = _request()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = os.dup(1)
    os.dup2(2, 1)  # whatever else prints
    for piece in _pieces(json.loads(line)):
        left = memoryview(piece)
        while left:
            left = left[os.write(out, left) :]
    os._exit(0)  # hf_xet's own threads may still be waiting for something


def _request() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, _LONGEST_REQUEST)
        if not piece or len(line) > _LONGEST_REQUEST:
            os._exit(2)
        line += piece
    return line


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(3)


def _pieces(asked: dict[str, Any]) -> Iterable[bytes]:
    import hf_xet  # noqa: PLC0415 - after the limits; it starts threads and logs when imported

    patience = timedelta(seconds=asked["timeout"])
    config = hf_xet.XetConfig().with_config(
        {
            "telemetry.enabled": False,
            "chunk_cache.size_bytes": 0,
            "client.connect_timeout": patience,
            "client.read_timeout": patience,
            "client.retry_max_attempts": 1,
            "client.retry_base_delay": timedelta(seconds=1),
            "reconstruction.download_buffer_size": _BUFFER,
            "reconstruction.download_buffer_perfile_size": _BUFFER,
            "reconstruction.download_buffer_limit": 2 * _BUFFER,
            "reconstruction.min_prefetch_buffer": _BUFFER,
            "reconstruction.min_reconstruction_fetch_size": 2 * _BUFFER,
        }
    )
    group = hf_xet.XetSession(config).new_download_stream_group(
        endpoint=asked["endpoint"],
        token=asked["token"],
        token_expiry_unix_secs=asked["expires"],
    )
    info = hf_xet.XetFileInfo(asked["hash"], asked["size"])
    stream: Iterable[bytes] = group.download_stream(info, start=asked["start"])
    return stream


if __name__ == "__main__":
    raise SystemExit(main())
