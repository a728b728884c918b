"""The Hub's answers, from JSON to values. Every id, path and number is parsed for its form.

A server's word is a claim: a commit is what was asked for or the answer is refused, a path is text
until the gate has seen it, a size is bounded, a page follows only on the same route.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pratique.core.ids import (
    CommitSha,
    Digest,
    GitId,
    RepoId,
    parse_commit,
    parse_digest,
    parse_git_id,
    parse_repo_id,
    shown,
)
from pratique.errors import FetchError, FormatError
from pratique.fetch.session import Answer, HubSession
from pratique.fetch.urls import origin_of, path_of
from pratique.formats import json_strict
from pratique.formats.json_strict import Json, JsonObject

MAX_INFO_BYTES: Final = 64 << 20
MAX_PAGE_BYTES: Final = 32 << 20
MAX_PAGES: Final = 2_000
MAX_PATHS: Final = 200_000
MAX_SIZE: Final = 1 << 50
_COMMIT_DIGITS: Final = 40
_PAGE_LIMITS: Final = json_strict.Limits(size=MAX_INFO_BYTES, items=4_000_000)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """What the server says of a repository at one commit. `claims` goes before the gate."""

    repo: RepoId
    commit: CommitSha
    claims: dict[str, object]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One path as the API lists it. `sha256` and `size` are of the LFS content where there is one."""

    path: str
    size: int
    git_id: GitId
    sha256: Digest | None = None
    xet: Digest | None = None


@dataclass(frozen=True, slots=True)
class ListingAnswer:
    """All pages of a listing."""

    items: tuple[Item, ...]
    pages: tuple[bytes, ...] = field(repr=False)


class RenamedRepository(FetchError):
    """The server sends us to another repository name."""

    def __init__(self, repo: RepoId, new: RepoId) -> None:
        super().__init__(
            f"{repo} is now called {new}: another owner or name than was asked for",
            hint=f"if that is right, ask for {new}, or accept renames in the policy "
            "(fetch.renamed_repositories)",
        )
        self.new = new


def repo_info(session: HubSession, repo: RepoId, revision: str | None) -> RepoInfo:
    """Resolve `revision` (branch, tag, commit; None for the default branch) to a commit.

    Raises:
        RenamedRepository: the server redirects to, or answers for, another repository.
        FetchError: unknown, gated, private; or the answer is for another commit than asked.
    """
    route = ("revision", revision) if revision is not None else ()
    url = session.endpoint.api(repo, *route)
    what = repo if revision is None else f"{repo}@{revision}"
    answer = session.get(f"{url}?securityStatus=true", limit=MAX_INFO_BYTES, what=what)
    if 300 <= answer.status < 400:
        raise _renamed(session, repo, answer)
    value = _object(answer.body, what)
    named = _claim(value, "id", lambda v: parse_repo_id(_text(v)), what)
    if named != repo:
        raise RenamedRepository(repo, named)
    commit = _claim(value, "sha", lambda v: parse_commit(_text(v)), what)
    if revision is not None and len(revision) == _COMMIT_DIGITS and commit != revision:
        raise FetchError(
            f"asked for commit {revision} of {repo}, the server answers with {commit}",
            hint="the server is wrong or lies; nothing was taken from it",
        )
    return RepoInfo(repo, commit, _claims(value), answer.body)


def _renamed(session: HubSession, repo: RepoId, answer: Answer) -> FetchError:
    location = answer.headers.get("location", "")
    relative = location.startswith("/") and not location.startswith("//")
    ours = relative or origin_of(location) == session.endpoint.origin
    path = path_of(location) if ours else ""
    prefix = path_of(session.endpoint.base) + "/api/models/"
    new = path.removeprefix(prefix).split("/revision/")[0]
    try:
        if not path.startswith(prefix):
            raise FormatError("elsewhere")
        return RenamedRepository(repo, parse_repo_id(new))
    except FormatError:
        return FetchError(
            f"the server redirects {repo} to somewhere that is no repository of its own",
            hint="check the endpoint",
        )


def _claims(value: JsonObject) -> dict[str, object]:
    """What the gate may want to know. Plain values, bounded, none of them trusted."""
    keys = (
        "author", "cardData", "disabled", "gated", "library_name", "pipeline_tag", "private",
        "securityRepoStatus", "tags",
    )  # fmt: skip
    claims: dict[str, object] = {key: value[key] for key in keys if key in value}
    tags = value.get("tags")
    if isinstance(tags, list):
        licences = [t for t in tags if isinstance(t, str) and t.startswith("license:")]
        # "other" only says that the card says more.
        if licences and licences[0] != "license:other":
            claims["license"] = licences[0].removeprefix("license:")
    return claims


def list_files(session: HubSession, repo: RepoId, commit: CommitSha) -> ListingAnswer:
    """List every file at `commit`, over all pages.

    Raises FetchError for malformed items, a page elsewhere, a path twice, or too many.
    """
    first = session.endpoint.api(repo, "tree", commit)
    what = f"the file list of {repo}"
    url: str | None = f"{first}?recursive=true&expand=false"
    items: list[Item] = []
    pages: list[bytes] = []
    while url is not None:
        answer = session.get(url, limit=MAX_PAGE_BYTES, what=what)
        if answer.status != 200:
            raise FetchError(f"the server answers {answer.status} for {what}", hint="try again")
        pages.append(answer.body)
        items.extend(_page(answer.body, what))
        if len(pages) > MAX_PAGES or len(items) > MAX_PATHS:
            raise FetchError(
                f"{what} is longer than {MAX_PATHS} files", hint="this is not a model repository"
            )
        url = _next_page(session, first, answer)
    if len({item.path for item in items}) != len(items):
        raise FetchError(f"{what} names a file twice", hint="the server is wrong or lies")
    return ListingAnswer(tuple(items), tuple(pages))


def _next_page(session: HubSession, first: str, answer: Answer) -> str | None:
    if answer.next_url is None:
        return None
    target = answer.next_url
    if origin_of(target) != session.endpoint.origin or path_of(target) != path_of(first):
        raise FetchError(
            "the server continues the file list at another address", hint="check the endpoint"
        )
    return target


def _page(body: bytes, what: str) -> list[Item]:
    try:
        value = json_strict.parse(body, _PAGE_LIMITS)
    except FormatError as error:
        raise _malformed(what, error.message) from error
    if not isinstance(value, list):
        raise _malformed(what, "it is no list")
    items: list[Item] = []
    for entry in value:
        if not isinstance(entry, dict) or entry.get("type") not in ("file", "directory"):
            raise _malformed(what, "an entry is neither file nor directory")
        if entry["type"] == "file":
            items.append(_item(entry, what))
    return items


def _item(entry: JsonObject, what: str) -> Item:
    lfs = entry.get("lfs")
    content = lfs if isinstance(lfs, dict) else entry
    return Item(
        path=_claim(entry, "path", _text, what),
        size=_claim(content, "size", _size, what),
        git_id=_claim(entry, "oid", lambda v: parse_git_id(_text(v)), what),
        sha256=_claim(lfs, "oid", lambda v: parse_digest(_text(v)), what)
        if isinstance(lfs, dict)
        else None,
        xet=_xet(entry.get("xetHash")),
    )


def _xet(value: Json) -> Digest | None:
    """A Xet hash, or None for anything else: without one, the file comes over plain HTTP."""
    try:
        return parse_digest(_text(value))
    except FormatError:
        return None


def _object(body: bytes, what: str) -> JsonObject:
    try:
        return json_strict.parse_object(body, _PAGE_LIMITS)
    except FormatError as error:
        raise _malformed(what, error.message) from error


def _claim(value: JsonObject, key: str, parse: Callable[[Json], T], what: str) -> T:
    try:
        return parse(value.get(key))
    except FormatError as error:
        raise _malformed(what, f"{key}: {error.message}") from error


def _text(value: Json) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise FormatError(f"is {json_strict.type_name(value)}, not a short text")
    return value


def _size(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise FormatError(f"is not a size: {shown(json.dumps(value)[:80])}")
    return value


def _malformed(what: str, why: str) -> FetchError:
    return FetchError(
        f"the server's answer for {what} is malformed: {why}",
        hint="check the endpoint; nothing was taken from it",
    )
