"""The commit and its trees, over git's smart HTTP, without files and without a git program.

dulwich speaks the protocol; every request goes through our own session (token, proxies, CA, limits,
no redirects), and the pack is taken apart by our own strict reader. dulwich never sees the disk.
"""

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from dulwich.client import AbstractHttpGitClient
from dulwich.errors import GitProtocolError

from pratique.core.ids import CommitSha, GitId, RepoId, shown
from pratique.errors import FetchError, FormatError
from pratique.fetch.errors import TRANSIENT_STATUS, safe_url
from pratique.fetch.session import TRANSIENT, HubSession, read_answer
from pratique.fetch.urls import origin_of
from pratique.formats.git import GitObjects
from pratique.formats.git_pack import read_pack

MAX_PACK_BYTES: Final = 256 << 20
"""Without a filter a shallow fetch brings small files along; LFS keeps weights out of it."""
MAX_INFLATED_BYTES: Final = 1 << 30
_FILTER: Final = b"blob:none"


class NoGit(Exception):
    """This server offers no git access. Not an error: the policy decides what it means."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """What dulwich wants of a response."""

    status: int
    content_type: str | None
    redirect_location: str = ""

    def close(self) -> None:
        """Nothing is held open: the body was read."""


class _Client(AbstractHttpGitClient):
    """dulwich's protocol engine over our session."""

    def __init__(self, session: HubSession, repo: RepoId, limit: int) -> None:
        # Some servers insist on `thin-pack`. We have nothing, so no pack can lean on it, and the
        # reader refuses one that does.
        super().__init__(session.endpoint.git(repo), thin_packs=True, quiet=True)
        self._session = session
        self._repo = repo
        self._limit = limit

    def _http_request(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[Any, Callable[[int], bytes]]:
        del raise_for_status
        body = data if isinstance(data, bytes) or data is None else b"".join(data)
        sent = {**(headers or {}), **_authorization(self._session)}
        if origin_of(url) != self._session.endpoint.origin:
            raise FetchError(
                f"git leads to another host: {safe_url(url)}", hint="check the endpoint"
            )
        with self._session.stream(
            url, method="GET" if body is None else "POST", headers=sent, content=body
        ) as response:
            answer = read_answer(response, self._limit, "the commit's git objects")
        if answer.status in TRANSIENT_STATUS:
            raise _Later(answer.headers)
        gated = answer.headers.get("x-error-code") == "GatedRepo"
        if answer.status == 401 or gated:
            self._session.check(answer, self._repo)
        if answer.status != 200:
            raise NoGit(f"{answer.status}")
        body_left = memoryview(answer.body)

        def read(size: int) -> bytes:
            nonlocal body_left
            piece = bytes(body_left[:size])
            body_left = body_left[size:]
            return piece

        return _Reply(answer.status, answer.headers.get("content-type")), read


class _Later(Exception):
    """The server asks to come back later."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("later")
        self.headers = headers


def _authorization(session: HubSession) -> dict[str, str]:
    """Git over HTTP takes the token as a password; the user name does not matter to the Hub."""
    if session.authorization is None:
        return {}
    token = session.authorization.removeprefix("Bearer ")
    pair = base64.b64encode(f"token:{token}".encode()).decode()
    return {"authorization": f"Basic {pair}"}


class _NoHistory:
    """A graph walker that has nothing: the server is to send everything asked for."""

    shallow: frozenset[bytes] = frozenset()

    def __next__(self) -> None:
        return None

    def ack(self, sha: bytes) -> None:
        """Nothing was offered, so nothing can be acknowledged."""

    def nak(self) -> None:
        """As expected."""


def fetch_commit_objects(session: HubSession, repo: RepoId, commit: CommitSha) -> GitObjects:
    """Return the commit and its trees (and small files, if the server ignores filters).

    Guarantees only that ids are those of the bytes; whether all of them are there is for
    `formats.git.walk_commit`.

    Raises:
        NoGit: the server has no smart git for this repository.
        FetchError: it has, but answers with something else.
    """
    return _fetch(session, repo, [commit.encode()], depth=1)


def fetch_blobs(session: HubSession, repo: RepoId, ids: Iterable[GitId]) -> GitObjects:
    """Return small blobs by id: LFS pointers of odd spelling. Raises like `fetch_commit_objects`."""
    return _fetch(session, repo, [oid.encode() for oid in sorted(ids)], depth=None)


def _fetch(
    session: HubSession, repo: RepoId, wants: Sequence[bytes], depth: int | None
) -> GitObjects:
    what = f"the git objects of {repo}"
    for failures in range(1, session.patience.attempts + 1):
        try:
            pack = _pack(session, repo, wants, depth)
        except (*TRANSIENT, _Later) as error:
            if failures == session.patience.attempts:
                if isinstance(error, _Later):
                    raise FetchError(
                        f"{session.endpoint.base} is too busy for {what}", hint="try again later"
                    ) from error
                raise session.explained(error, what) from error
            headers = error.headers if isinstance(error, _Later) else None
            session.patience.pause(failures, headers, what=what)
        else:
            try:
                return read_pack(pack, max_inflated=MAX_INFLATED_BYTES)
            except FormatError as error:
                raise FetchError(
                    f"the server's git objects for {repo} are refused: {error.message}",
                    hint="the server is wrong or lies; nothing was taken from it",
                ) from error
    raise RuntimeError("patience without attempts")


def _pack(session: HubSession, repo: RepoId, wants: Sequence[bytes], depth: int | None) -> bytes:
    client = _Client(session, repo, MAX_PACK_BYTES)
    pack = bytearray()

    def wanted(refs: Mapping[Any, Any], depth: int | None = None) -> list[Any]:
        del refs, depth  # asked for by id, whatever the branches say
        return list(wants)

    def take(piece: bytes) -> int:
        pack.extend(piece)
        return len(piece)

    with _protocol_errors(repo):
        client.fetch_pack(
            "",
            wanted,
            _NoHistory(),
            take,
            depth=depth,
            ref_prefix=[b"HEAD"],
            filter_spec=_FILTER if depth is not None else None,
            protocol_version=2,
        )
        if client.dumb:
            raise NoGit("no smart protocol")
    return bytes(pack)


@contextlib.contextmanager
def _protocol_errors(repo: RepoId) -> Iterator[None]:
    """Whatever dulwich raises over hostile bytes becomes a refusal."""
    try:
        yield
    except (FetchError, NoGit, _Later, httpx2.HTTPError, httpx2.StreamError, RuntimeError):
        raise
    except GitProtocolError as error:
        raise FetchError(
            f"git for {repo} failed: {shown(str(error))}",
            hint="the commit may not exist on this server; fetch again from the start",
        ) from error
    except Exception as error:
        raise FetchError(
            f"git for {repo} failed: the server does not keep to the protocol "
            f"({type(error).__name__})",
            hint="check the endpoint; nothing was taken from it",
        ) from error
