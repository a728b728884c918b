"""From what a user typed to a snapshot: picks the source, opens the session, hands over the gate.

A name is a repository; a path is written as one (`./`, `../`, `/`, `~`), so that a directory in the
working directory never stands in for a repository of the same name.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pratique.core.candidate import Gate
from pratique.core.ids import parse_repo_id, shown
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.snapshot import Snapshot
from pratique.errors import FormatError, UnreadableInput, UsageError
from pratique.fetch.hub import HubFetch
from pratique.fetch.local import LocalFetch, cache_source, directory_source, is_cache_snapshot
from pratique.fetch.pinning import HubRequest
from pratique.fetch.session import HubSession, Tls, hub_session
from pratique.fetch.urls import OFFICIAL, Endpoint

_MAX_REVISION = 256
NO_TLS = Tls()


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Everything but the gate. `endpoint` None is HF_ENDPOINT, else the official Hub."""

    home: Path
    policy: Policy
    into: Path | None = None
    endpoint: str | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    name: str | None = None
    """What a directory is to be called, if not by its own name."""
    tls: Tls = NO_TLS
    timeout: float = 60.0


def fetch(source: str, options: FetchOptions, gate: Gate, progress: Progress) -> Snapshot:
    """Fetch `ORG/NAME[@REV]`, a directory or a cache snapshot into quarantine.

    Raises every PratiqueError that fetch knows; nothing bears its final name unless it is whole.
    """
    if is_path(source):
        return _fetch_local(_path(source), options, gate, progress)
    request = parse_request(source, only=options.only, without=options.without)
    with open_session(options) as session:
        return HubFetch(session, options.home, options.policy, gate, progress, options.into).run(
            request
        )


def open_session(options: FetchOptions) -> "contextlib.AbstractContextManager[HubSession]":
    """Open a session to the endpoint that the options or the environment name."""
    return hub_session(_endpoint(options), tls=options.tls, timeout=options.timeout)


def _endpoint(options: FetchOptions) -> Endpoint:
    text = options.endpoint or os.environ.get("HF_ENDPOINT") or OFFICIAL
    return Endpoint.parse(text, redirect_hosts=options.policy.fetch.redirect_hosts)


def is_path(source: str) -> bool:
    """Whether `source` is written as a path."""
    return source.startswith(("/", "./", "../", "~")) or source in {".", ".."}


def _path(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise UnreadableInput(
            f"no such home directory: {shown(source)}", hint="check it"
        ) from error


def parse_request(
    source: str, *, only: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> HubRequest:
    """Parse `ORG/NAME[@REV]`. Raises UsageError."""
    repo, at, revision = source.partition("@")
    try:
        parsed = parse_repo_id(repo)
    except FormatError as error:
        hint = f"for a directory write ./{source}" if Path(source).is_dir() else error.hint
        raise UsageError(error.message, hint=hint) from error
    if at and not _is_revision(revision):
        raise UsageError(
            f"not a revision: {shown(revision)}", hint="name a branch, a tag or a 40-digit commit"
        )
    return HubRequest(parsed, revision if at else None, only, without)


def _is_revision(text: str) -> bool:
    """As `git check-ref-format` has it, roughly: it goes into a URL, quoted."""
    return (
        0 < len(text) <= _MAX_REVISION
        and text.isprintable()
        and text.isascii()
        and not any(c in text for c in " ~^:?*[\\")
        and ".." not in text
        and not text.startswith(("/", "-", "."))
    )


def _fetch_local(path: Path, options: FetchOptions, gate: Gate, progress: Progress) -> Snapshot:
    def run(session: HubSession | None) -> Snapshot:
        cached = is_cache_snapshot(path)
        with cache_source(path) if cached else directory_source(path, options.name) as source:
            return LocalFetch(
                home=options.home,
                policy=options.policy,
                gate=gate,
                progress=progress,
                into=options.into,
                session=session,
                only=options.only,
                without=options.without,
            ).run(source)

    if options.endpoint is None:
        return run(None)
    with open_session(options) as session:
        return run(session)
