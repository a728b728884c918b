"""Xet storage, where the server offers it: hf_xet's ordered streams, from any byte on.

The rules: hf_xet is given a short-lived storage token, never the Hub's; the storage host must be one
that redirects may lead to; what it delivers is hashed like everything else. Whatever goes wrong here
is not an error: the rest of the file comes over plain HTTP.
"""

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from huggingface_hub import constants

from pratique.core.ids import CommitSha, RepoId
from pratique.errors import FetchError, FormatError
from pratique.fetch.listing import Wanted
from pratique.fetch.session import HubSession
from pratique.fetch.urls import origin_of
from pratique.formats import json_strict

_MAX_TOKEN_BYTES: Final = 64 << 10
_MIN_LIFE: Final = 60.0


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
    token: str
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
        if origin is None or not self.session.endpoint.expects(origin):
            raise XetUnavailable("storage at an unexpected host")
        if expires < time.time() + _MIN_LIFE:
            raise XetUnavailable("storage token expired")
        return XetAccess(cas, token, expires)


def _guarded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except (OSError, RuntimeError, ValueError) as error:
        raise XetUnavailable(type(error).__name__) from error


def hub_xet(session: HubSession, repo: RepoId, commit: CommitSha) -> XetSource | None:
    """Return Xet storage if hf_xet is installed, permitted and can be trusted with the connection.

    hf_xet makes connections of its own, which know nothing of an own CA or a client certificate: with
    one of these, plain HTTP is used.
    """
    absent = importlib.util.find_spec("hf_xet") is None
    if absent or constants.HF_HUB_DISABLE_XET or session.has_own_tls:
        return None
    return HubXet(session, repo, commit, _open_stream)


@contextlib.contextmanager
def _open_stream(
    access: XetAccess, file_hash: str, size: int, start: int
) -> Iterator[Iterator[bytes]]:
    import hf_xet  # noqa: PLC0415 - a native library with threads of its own: only where it is used

    group = hf_xet.XetSession().new_download_stream_group(
        endpoint=access.url, token=access.token, token_expiry_unix_secs=access.expires
    )
    stream = group.download_stream(hf_xet.XetFileInfo(file_hash, size), start=start)
    try:
        yield iter(stream)
    finally:
        stream.cancel()
