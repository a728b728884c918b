"""Xet storage, where the server offers it: hf_xet's ordered streams, from any byte on.

The rules: hf_xet runs in a process of its own (xet_child.py) and is given a short-lived storage token,
never the Hub's; the storage, and every address that the storage names, must be at a host that
redirects may lead to (outlet.py); what comes is hashed like everything else. Whatever goes wrong here
is not an error: the rest of the file comes over plain HTTP.
"""

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from huggingface_hub import constants

from pratique.core.ids import CommitSha, RepoId
from pratique.errors import FetchError, FormatError
from pratique.fetch.listing import Wanted
from pratique.fetch.outlet import outlet
from pratique.fetch.session import HubSession
from pratique.fetch.urls import Endpoint, Origin, origin_of
from pratique.formats import json_strict

_MAX_TOKEN_BYTES: Final = 64 << 10
_MIN_LIFE: Final = 60.0
_PIECE: Final = 256 << 10
_CHILD: Final = (sys.executable, "-I", "-m", "pratique.fetch.xet_child")
_NOWHERE: Final = "/dev/null/none"
"""A path below which nobody can make a file."""


class XetUnavailable(Exception):
    """This file cannot be had, or no further, over Xet."""


class XetSource(Protocol):
    """Opens ordered streams."""

    def open(
        self, wanted: Wanted, start: int
    ) -> "contextlib.AbstractContextManager[Iterator[bytes]]":
        """Yield the bytes from `start` on. Raises XetUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class XetAccess:
    """Where the storage is and what opens it, until `expires` (seconds since 1970)."""

    url: str
    token: str = field(repr=False)
    expires: int


Opener = Callable[[XetAccess, str, int, int], "contextlib.AbstractContextManager[Iterator[bytes]]"]


@dataclass(frozen=True, slots=True)
class HubXet:
    """The storage behind one repository at one commit."""

    session: HubSession
    repo: RepoId
    commit: CommitSha
    opener: Opener

    @contextlib.contextmanager
    def open(self, wanted: Wanted, start: int) -> Iterator[Iterator[bytes]]:
        """Yield the bytes from `start` on. Raises XetUnavailable."""
        if wanted.xet is None:
            raise XetUnavailable("not in Xet storage")
        access = self._access()
        try:
            with self.opener(access, wanted.xet, wanted.size, start) as pieces:
                yield _guarded(pieces)
        except (OSError, RuntimeError, ValueError) as error:
            raise XetUnavailable(type(error).__name__) from error

    def _access(self) -> XetAccess:
        """Ask the Hub for a storage token, over our own session."""
        url = self.session.endpoint.api(self.repo, "xet-read-token", self.commit)
        try:
            answer = self.session.get(url, limit=_MAX_TOKEN_BYTES, what="access to Xet storage")
            value = json_strict.parse_object(answer.body)
        except (FetchError, FormatError) as error:
            raise XetUnavailable("no storage token") from error
        cas, token, expires = value.get("casUrl"), value.get("accessToken"), value.get("exp")
        if not isinstance(cas, str) or not isinstance(token, str) or not isinstance(expires, int):
            raise XetUnavailable("malformed storage token")
        origin = origin_of(cas)
        if origin is None or not is_reachable(self.session.endpoint, origin):
            raise XetUnavailable("storage at an unexpected host")
        if expires < time.time() + _MIN_LIFE:
            raise XetUnavailable("storage token expired")
        return XetAccess(cas, token, expires)


def _guarded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except (OSError, RuntimeError, ValueError) as error:
        raise XetUnavailable(type(error).__name__) from error


def hub_xet(
    session: HubSession, repo: RepoId, commit: CommitSha, scratch: Path
) -> XetSource | None:
    """Return Xet storage if hf_xet is installed, permitted and can be trusted with the connection.

    hf_xet makes connections of its own, which know nothing of an own CA or a client certificate: with
    one of these, plain HTTP is used. It wants a folder of its own, which is `scratch`.
    """
    absent = importlib.util.find_spec("hf_xet") is None
    if absent or constants.HF_HUB_DISABLE_XET or session.has_own_tls:
        return None
    reachable = partial(is_reachable, session.endpoint)
    return HubXet(session, repo, commit, ChildStreams(reachable, session.timeout, scratch).open)


def is_reachable(endpoint: Endpoint, origin: Origin) -> bool:
    """Whether storage may be there, and without the user's proxy: ours would go around it."""
    proxies = urllib.request.getproxies()
    proxied = origin.scheme in proxies or "all" in proxies
    return endpoint.expects(origin) and not (
        proxied and not urllib.request.proxy_bypass(f"{origin.host}:{origin.port}")
    )


@dataclass(frozen=True, slots=True)
class ChildStreams:
    """Opens streams of hf_xet, each in a child that is dead when its stream is closed."""

    reachable: Callable[[Origin], bool]
    timeout: float
    """The longest silence, in seconds."""
    scratch: Path

    @contextlib.contextmanager
    def open(
        self, access: XetAccess, file_hash: str, size: int, start: int
    ) -> Iterator[Iterator[bytes]]:
        """Yield the bytes from `start` on. Raises RuntimeError where hf_xet stalls or gives up."""
        asked = {
            "endpoint": access.url,
            "token": access.token,
            "expires": access.expires,
            "hash": file_hash,
            "size": size,
            "start": start,
            "timeout": self.timeout,
        }
        with (
            outlet(self.reachable, timeout=self.timeout) as out,
            subprocess.Popen(
                _CHILD,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(out.url, self.scratch),
            ) as child,
        ):
            assert child.stdin is not None
            try:
                child.stdin.write(json.dumps(asked).encode() + b"\n")
                yield _delivered(child, self.timeout)
            finally:
                child.kill()


def _environment(proxy: str, scratch: Path) -> dict[str, str]:
    """All that the child knows of this machine: nothing of ours, and one folder."""
    kept = {
        name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ
    }
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    return {
        **kept,
        **proxies,
        "HOME": _NOWHERE,
        "HF_HOME": _NOWHERE,
        "HF_XET_CACHE": str(scratch.absolute()),
        "HF_XET_LOG_DEST": os.devnull,
        "HF_XET_TELEMETRY_ENABLED": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }


def _delivered(child: "subprocess.Popen[bytes]", timeout: float) -> Iterator[bytes]:
    assert child.stdout is not None
    handle = child.stdout.fileno()
    while True:
        ready, _, _ = select.select([handle], [], [], timeout)
        if not ready:
            raise RuntimeError("no bytes in time")
        piece = os.read(handle, _PIECE)
        if not piece:
            break
        yield piece
    if child.wait(timeout) != 0:
        raise RuntimeError("hf_xet gave up")
