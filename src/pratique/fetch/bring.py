"""Files of one commit into the work directory, several at a time. Judges nothing: the gate does, between.

What is put there has the digest that the commit names; a head is tied to nothing yet.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pratique.core.ids import RelPath
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.progress import Progress
from pratique.fetch.heads import fetch_head
from pratique.fetch.listing import Wanted, by_content
from pratique.fetch.pinning import Pinned
from pratique.fetch.session import HubSession
from pratique.fetch.sink import Arrived
from pratique.fetch.stream import Download, Stopped
from pratique.fetch.xet import hub_xet
from pratique.store.quarantine import Workspace

AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Bring:
    """Downloads into one work directory. `arrived` is what came in this run, by path."""

    session: HubSession
    pinned: Pinned
    space: Workspace
    progress: Progress
    arrived: dict[RelPath, Arrived] = field(default_factory=dict)

    def measured(self) -> Manifest:
        """What was hashed while it arrived, in this run: the gate need not hash it again."""
        return Manifest.of(FileEntry(p, a.wanted.size, a.sha256) for p, a in self.arrived.items())

    def files(self, files: Sequence[Wanted], what: str) -> None:
        """Download `files`, those of one content one after the other; `what` is said of them."""
        self.progress.begin(what, sum(file.size for file in files))
        download = self.download()
        groups = by_content(files)

        def bring(expected: str) -> None:
            for file in groups[expected]:
                self._one(download, file)

        largest_first = sorted(groups, key=lambda key: -groups[key][0].size)
        in_parallel([partial(bring, key) for key in largest_first], download.stop)

    def _one(self, download: Download, file: Wanted) -> None:
        target = self.space.model / file.path
        part = self.space.parts / f"{file.expected}.part"
        if target.exists():
            target.replace(part)  # from an earlier run: hashed again like any part
        self.arrived[file.path] = download.fetch(file, part, target)

    def heads(self, files: Sequence[Wanted]) -> None:
        """Fetch the first bytes of `files`, for the gate alone."""
        self.progress.begin("heads of the weights", None)
        download = self.download()
        jobs = [partial(fetch_head, download, file, self.space.heads / file.path) for file in files]
        in_parallel(jobs, download.stop)

    def download(self) -> Download:
        """A way to download files of this commit."""
        session, pinned = self.session, self.pinned
        xet = hub_xet(session, pinned.repo, pinned.commit, self.space.root / "xet")
        return Download(session, pinned.repo, pinned.commit, self.progress, xet=xet)


def in_parallel(jobs: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Run all; after the first failure the others are told to stop, and it is raised."""
    if not jobs:
        return
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(jobs))) as pool:
        running: list[Future[None]] = [pool.submit(job) for job in jobs]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        failed = [f for f in done if f.exception() is not None]
        if failed:
            stop.set()
            pool.shutdown(cancel_futures=True)
    errors = [e for f in running if not f.cancelled() and (e := f.exception()) is not None]
    real = [e for e in errors if not isinstance(e, Stopped)]
    if real:
        raise real[0]
    if errors:
        raise errors[0]
