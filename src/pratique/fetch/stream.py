"""One file from the net to the disk, hashed on the way, taken up again at the exact byte.

The rules: bytes go to a part file named by the digest that they must end with; only a part that ends
with it gets the file's name. Every header that could change what is written (status, range, length,
commit, ETag) is compared with what was asked for. A wrong byte means one fresh start, then a refusal.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from pratique.core.ids import CommitSha, RepoId, shown
from pratique.core.progress import Progress
from pratique.errors import FetchError
from pratique.fetch.body import Reader, body, reader_of
from pratique.fetch.errors import TRANSIENT_STATUS
from pratique.fetch.listing import Wanted
from pratique.fetch.session import TRANSIENT, HubSession, read_answer
from pratique.fetch.sink import Arrived, Sink, storing
from pratique.fetch.xet import XetSource, XetUnavailable

_BLOCK: Final = 1 << 20
_PROGRESS: Final = 64 << 10
"""Fewer bytes than this before a cut are no progress: a server could cut after each one."""
_MAX_REDIRECTS: Final = 3
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})\Z", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


class Stopped(Exception):
    """Another file failed, so this one was given up."""


@dataclass(frozen=True, slots=True)
class Download:
    """What all downloads of one fetch share."""

    session: HubSession
    repo: RepoId
    commit: CommitSha
    progress: Progress
    stop: threading.Event = field(default_factory=threading.Event)
    xet: XetSource | None = None
    xet_failed: threading.Event = field(default_factory=threading.Event)

    def fetch(self, wanted: Wanted, part: Path, target: Path) -> Arrived:
        """Bring `wanted` to `target` by way of `part`. Returns only when its digest is right.

        Raises:
            FetchError: it cannot be had, or twice came with other bytes than the commit says.
            StorageError: it cannot be written.
        """
        for attempt in (1, 2):
            arrived = self._attempt(wanted, part, first=attempt == 1)
            if arrived is not None:
                with storing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part.replace(target)
                return arrived
            with storing(part):
                part.unlink(missing_ok=True)
            self.progress.advance(-wanted.size if attempt == 1 else 0)
        raise FetchError(
            f"{shown(wanted.path)} came twice with other bytes than commit {self.commit} says",
            hint="the server, its cache or a proxy alters files; nothing of it was accepted",
        )

    def _attempt(self, wanted: Wanted, part: Path, *, first: bool) -> Arrived | None:
        """One try. A second one takes the plainest way: no Xet, no short cuts."""
        with Sink.open(part, wanted) as sink:
            self.progress.advance(sink.size)
            if first and self.xet is not None and wanted.xet and sink.size < wanted.size:
                self._from_xet(self.xet, wanted, sink)
            failures = 0
            while sink.size < wanted.size:
                before = sink.size
                error = self._stream(wanted, sink, directly=first)
                if sink.size < wanted.size:
                    failures = 1 if sink.size - before >= _PROGRESS else failures + 1
                    self.wait(error, failures, wanted)
            return sink.arrived()

    def _from_xet(self, xet: XetSource, wanted: Wanted, sink: Sink) -> None:
        """Append as much as Xet gives. After one failure the others are not tried."""
        if self.xet_failed.is_set():
            return
        try:
            with xet.open(wanted, sink.size) as pieces:
                self._append(reader_of(pieces), wanted, sink)
        except (XetUnavailable, httpx2.ReadTimeout):
            self.xet_failed.set()

    def wait(self, error: Exception, failures: int, wanted: Wanted) -> None:
        """Wait after the `failures`-th failure in a row. Raises FetchError after too many, Stopped."""
        what = shown(wanted.path)
        if self.stop.is_set():
            raise Stopped
        if failures >= self.session.patience.attempts:
            if isinstance(error, Busy):
                self.session.check(error.answer, self._what(wanted))
            raise self.session.explained(error, self._what(wanted)) from error
        headers = error.answer.headers if isinstance(error, Busy) else None
        self.session.patience.pause(failures, headers, what=what, stop=self.stop)
        if self.stop.is_set():
            raise Stopped

    def _what(self, wanted: Wanted) -> str:
        return f"{self.repo}: {shown(wanted.path)}"

    def _stream(self, wanted: Wanted, sink: Sink, *, directly: bool) -> Exception:
        """One request: append from where the part ends. Returns why it ended, if that was early."""
        try:
            with self.open(wanted, sink.size, wanted.size) as response:
                if response.status_code == 200 and sink.size:
                    self.progress.advance(-sink.size)
                    sink.restart()  # the server ignores ranges: take it from the start
                read = body(response, timeout=self.session.timeout, directly=directly)
                self._append(read, wanted, sink)
        except (*TRANSIENT, Busy) as error:
            return error
        return httpx2.RemoteProtocolError("the body ended early")

    def _append(self, read: Reader, wanted: Wanted, sink: Sink) -> None:
        patience = self.session.patience
        window, seen = patience.clock(), 0
        while count := read(sink.room):
            if self.stop.is_set():
                raise Stopped
            seen += count
            if seen >= _PROGRESS:
                window, seen = patience.clock(), 0
            elif patience.clock() - window > patience.drip:
                raise httpx2.ReadTimeout("the body drips")
            if sink.size + count > wanted.size:
                raise FetchError(
                    f"{shown(wanted.path)} is longer than the {wanted.size} bytes listed",
                    hint="the server is wrong or lies; nothing of it was accepted",
                )
            sink.write(count)
            self.progress.advance(count)

    @contextlib.contextmanager
    def open(self, wanted: Wanted, start: int, end: int) -> Iterator[httpx2.Response]:
        """Open bytes `start` to `end` (exclusive) of a file; all headers have been checked.

        A 200 answer, which has the whole file, is possible whatever was asked for. Raises Busy.
        """
        url = self.session.endpoint.resolve(self.repo, self.commit, wanted.path)
        headers = {"range": f"bytes={start}-{end - 1}"} if (start, end) != (0, wanted.size) else {}
        for _ in range(_MAX_REDIRECTS):
            with self.session.stream(url, headers=headers) as response:
                self._check_names(response, wanted)
                if response.has_redirect_location:
                    location = response.headers["location"]
                    url = self.session.endpoint.content_redirect(
                        url, location, self.repo, self.commit
                    )
                    continue
                self._check_status(response, wanted, start, end)
                yield response
                return
        raise FetchError(
            f"{shown(wanted.path)} is redirected more than {_MAX_REDIRECTS} times",
            hint="check the endpoint",
        )

    def _check_names(self, response: httpx2.Response, wanted: Wanted) -> None:
        """What the Hub says of the file, where it says it, must be what was asked for."""
        said = response.headers
        checks: Mapping[str, str] = {
            "x-repo-commit": self.commit,
            "x-linked-size": str(wanted.size),
            "x-linked-etag": wanted.expected,
        }
        for name, expected in checks.items():
            value = said.get(name)
            if value is not None and value.strip().removeprefix("W/").strip('"') != expected:
                raise self._another(wanted, name, value)
        etag = said.get("etag", "").removeprefix("W/").strip('"')
        of_the_hub = "x-repo-commit" in said and "x-linked-etag" not in said
        if of_the_hub and _HEX.match(etag) and etag not in {wanted.expected, wanted.git_id}:
            raise self._another(wanted, "etag", etag)

    def _check_status(
        self, response: httpx2.Response, wanted: Wanted, start: int, end: int
    ) -> None:
        status = response.status_code
        if status in TRANSIENT_STATUS:
            raise Busy(response)
        if status >= 400 and status != 416:
            answer = read_answer(response, 0, wanted.path)
            self.session.check(answer, self._what(wanted))
        length = response.headers.get("content-length")
        if status == 206:
            match = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
            if not match or tuple(map(int, match.groups())) != (start, end - 1, wanted.size):
                raise self._another(wanted, "content-range", response.headers.get("content-range"))
            expected = end - start
        elif status == 200:
            expected = wanted.size
        else:
            raise FetchError(
                f"the server answers {status} for {shown(wanted.path)}", hint="fetch again"
            )
        if length is not None and length != str(expected):
            raise self._another(wanted, "content-length", length)

    def _another(self, wanted: Wanted, name: str, value: str | None) -> FetchError:
        return FetchError(
            f"{shown(wanted.path)}: asked for {wanted.size} bytes of {self.repo}@{self.commit[:8]}, "
            f"the server's {name} says {shown(value or 'nothing')}",
            hint="the server is wrong or lies; nothing of it was accepted",
        )


class Busy(Exception):
    """The server asks to come back later."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__("busy")
        self.answer = read_answer(response, 0, "an error")
