"""Whatever a server answers is parsed or refused: never a bug, never a name that leaves its place."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.core.ids import CommitSha, RepoId, path_problem
from pratique.core.stages import Stage
from pratique.errors import FetchError, FormatError
from pratique.fetch.api import Item, list_files, repo_info
from pratique.fetch.listing import for_gate, wanted_files, with_folders
from pratique.fetch.patience import Patience, wait_told
from pratique.fetch.plan import EARLY_BYTES, stages
from pratique.fetch.session import Answer, HubSession
from pratique.fetch.urls import Endpoint, origin_of

REPO, COMMIT = RepoId("org/name"), CommitSha("1" * 40)
ENDPOINT = Endpoint.parse("https://hub.example")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "sha", "type", "path", "oid", "size", "lfs", "tags", "xetHash"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
TEXT = st.text(st.characters(), max_size=40)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["file", "directory", "file"]),
            "path": TEXT,
            "size": st.integers(-5, 2**60),
            "oid": st.sampled_from(["1" * 40, "2" * 40, "x", ""]),
        }
    ),
    max_size=6,
)


class Canned(HubSession):
    """Answers everything with the same bytes."""

    __slots__ = ("_answer",)

    def __init__(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None):
        super().__init__(ENDPOINT, Patience(sleep=lambda _: None), {})
        object.__setattr__(
            self, "_answer", Answer(status, "https://hub.example", headers or {}, body)
        )

    def get(self, url: str, *, limit: int, what: str) -> Answer:
        return self._answer


def dumped(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@given(JSON | st.dictionaries(st.just("id"), st.just("org/name")))
def test_any_json_as_repository_information(value: object) -> None:
    try:
        info = repo_info(Canned(dumped(value)), REPO, None)
    except FetchError:
        return
    assert info.repo == REPO
    assert len(info.commit) == 40


@given(st.binary(max_size=200))
def test_any_bytes_as_repository_information(body: bytes) -> None:
    with pytest.raises(FetchError):
        repo_info(Canned(body), REPO, None)


@given(st.sampled_from([301, 302, 307, 308]), TEXT)
def test_any_redirect_of_the_api_is_refused(status: int, location: str) -> None:
    with pytest.raises(FetchError):
        repo_info(Canned(b"", status, {"location": location}), REPO, None)


@given(JSON | ROWS)
def test_any_json_as_a_listing(value: object) -> None:
    try:
        listing = list_files(Canned(dumped(value)), REPO, COMMIT)
    except FetchError:
        return
    for item in listing.items:
        assert isinstance(item, Item)
        assert 0 <= item.size <= 1 << 50
    with_folders(for_gate(listing.items, None))
    try:
        files = wanted_files(listing.items, lambda _: True)
    except FormatError:
        return
    assert all(path_problem(file.path) is None for file in files)
    assert sum(f.size for f in stages(files)[Stage.CODE_AND_CONFIG]) <= EARLY_BYTES


@given(TEXT)
def test_any_redirect_of_content_is_followed_only_where_expected(location: str) -> None:
    current = ENDPOINT.resolve(REPO, COMMIT, "x")
    try:
        target = ENDPOINT.content_redirect(current, location, REPO, COMMIT)
    except FetchError:
        return
    assert origin_of(target) == ENDPOINT.origin
    assert COMMIT in target


@given(st.dictionaries(st.sampled_from(["retry-after", "ratelimit"]), TEXT))
def test_any_header_about_waiting(headers: dict[str, str]) -> None:
    told = wait_told(headers)
    assert told is None or told >= 0


@given(names=st.lists(st.text("ab/.é\u202e", max_size=8), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_listed_name_leads_out_of_its_folder(tmp_path: Path, names: list[str]) -> None:
    items = [Item(name, 1, "1" * 40) for name in names]
    try:
        files = wanted_files(items, lambda _: True)
    except FormatError:
        return
    for file in files:
        assert (tmp_path / file.path).resolve().is_relative_to(tmp_path.resolve())
