"""A Hub that lies. One test per lie; each must end in a refusal that names what was wrong.

Background: huggingface_hub #3643 and #2364 (same-size corruption is kept under the right name),
#4306 (no resumption after a kill), and the client's silent 307 on renamed repositories.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pratique.core.ids import CommitSha
from pratique.errors import FetchError, StorageError
from pratique.fetch.api import RenamedRepository
from pratique.fetch.pinning import HubRequest
from pratique.flows.loopback_hub import Reply, Request, serving
from tests.support.hub.world import (
    REPO,
    WEIGHTS,
    World,
    cut_after,
    edited,
    endless,
    flip_last_byte,
    on,
    policy,
    stalled,
    with_body,
    with_headers,
    with_status,
)

OTHER = "f" * 40
RESOLVE = f"/{REPO}/resolve/"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(world: World, *words: str, request: HubRequest | None = None) -> FetchError:
    """The fetch fails with exit code 4, says `words`, and leaves no snapshot."""
    with pytest.raises(FetchError) as caught:
        world.fetch(request)
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    assert world.finals == []
    return caught.value


def rewrite(change: dict[str, object]) -> object:
    return edited(lambda body: json.dumps({**json.loads(body), **change}).encode())


def rows(change) -> object:
    def edit(body: bytes) -> bytes:
        listing = json.loads(body)
        change(listing)
        return json.dumps(listing).encode()

    return edited(edit)


# --- bytes ---------------------------------------------------------------------------------------


def test_wrong_bytes_of_the_right_size_once_are_fetched_again(world: World) -> None:
    whole = on("model.safetensors", flip_last_byte, times=1)
    world.lies = [lambda q, r: r if "range" in q.headers else whole(q, r)]
    snapshot = world.fetch()
    assert (snapshot.model_dir / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "docs/notes.md"])
def test_wrong_bytes_of_the_right_size_twice_name_the_file(world: World, name: str) -> None:
    world.lies = [on(f"resolve/{world.commit}/{name}", flip_last_byte)]
    refused(world, name, "twice")


def test_a_bit_in_gitattributes_is_noticed(world: World) -> None:
    world.lies = [on("/.gitattributes", flip_last_byte)]
    refused(world, ".gitattributes")


def test_a_longer_body_than_listed(world: World) -> None:
    world.lies = [
        on("docs/notes.md", lambda _q, r: replace(r, body=iter([b"notes\n", b"more"]), length=None))
    ]
    refused(world, "docs/notes.md", "longer")


def test_an_endless_body(world: World) -> None:
    world.lies = [on("model.safetensors", endless())]
    refused(world, "model.safetensors", "longer")


def test_an_endless_listing(world: World) -> None:
    world.lies = [on("/tree/", endless(b" " * 65536))]
    refused(world, "longer than")


def test_an_endless_error_body(world: World) -> None:
    world.lies = [
        on("/tree/", lambda q, r: replace(endless()(q, r), status=404)),
    ]
    refused(world, "not found")


def test_an_endless_git_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pratique.fetch.git_objects.MAX_PACK_BYTES", 1 << 20)
    world.lies = [on("git-upload-pack", endless())]
    refused(world, "git objects", "longer than")


def test_a_compressed_body(world: World) -> None:
    world.lies = [on("config.json", with_headers({"Content-Encoding": "gzip"}))]
    refused(world, "compressed")


def test_a_body_that_is_always_cut_short(world: World) -> None:
    world.lies = [on("docs/notes.md", cut_after(0))]
    refused(world, "docs/notes.md")
    assert sum(world.recorder.slept) == 1.0 + 2.0


def test_a_stalled_body_is_given_up(world: World) -> None:
    world.lies = [on("docs/notes.md", stalled(world, 0))]
    with pytest.raises(FetchError, match="did not answer in time"):
        world.fetch(timeout=1)


def test_a_dripping_body_is_given_up(world: World) -> None:
    ticks = iter(range(0, 10_000_000, 1000))
    world.recorder.patience = replace(
        world.recorder.patience, clock=lambda: float(next(ticks)), drip=1500.0
    )
    drops = [b"x" * 100] * 30
    world.lies = [
        lambda q, r: (
            replace(r, body=iter(drops), length=r.announced)
            if "model.safetensors" in q.path
            and not q.headers.get("range", "").startswith("bytes=0-")
            else r
        )
    ]
    with pytest.raises(FetchError):
        world.fetch()


# --- names, commits, sizes -----------------------------------------------------------------------


def test_another_commit_than_pinned(world: World) -> None:
    world.lies = [on("/revision/", rewrite({"sha": OTHER}))]
    refused(world, "asked for commit", OTHER, request=HubRequest(REPO, world.commit))


def test_another_commit_than_git_has(world: World) -> None:
    world.lies = [
        on(f"/api/models/{REPO}", rewrite({"sha": OTHER})),
        on(
            "/tree/",
            lambda q, _r: world.hub.respond(replace(q, path=q.path.replace(OTHER, "main"))),
        ),
    ]
    refused(world, "git")


def test_another_repository_in_the_answer(world: World) -> None:
    world.lies = [on(f"/api/models/{REPO}", rewrite({"id": "org/other"}))]
    assert isinstance(refused(world, "org/other"), RenamedRepository)


@pytest.mark.parametrize(
    "location",
    ["/api/models/neworg/name", "{url}/api/models/neworg/name/revision/main"],
)
def test_a_renamed_repository_is_refused(world: World, location: str) -> None:
    def lie(request: Request, reply: Reply) -> Reply:
        if request.path == f"/api/models/{REPO}":
            return Reply(307, {"Location": location.format(url=world.hub.url)})
        return reply

    world.lies = [lie]
    assert isinstance(refused(world, "neworg/name"), RenamedRepository)


def test_a_renamed_repository_where_the_policy_accepts_it(world: World) -> None:
    """Look-alike: the same redirect, and a policy that takes renames."""
    commit = world.hub.add("neworg/name", world.source)
    world.lies = [
        lambda q, r: (
            Reply(307, {"Location": "/api/models/neworg/name"})
            if q.path == f"/api/models/{REPO}"
            else r
        )
    ]
    snapshot = world.fetch(rules=policy(renamed_repositories="accept"))
    assert (snapshot.source.repo, snapshot.source.commit) == ("neworg/name", commit)
    record = json.loads((snapshot.model_dir.parent / "provenance/record.json").read_bytes())
    assert record["renamed_from"] == REPO


@pytest.mark.parametrize("location", ["https://evil.example/api/models/a/b", "/login", "//evil/x"])
def test_an_api_redirect_elsewhere(world: World, location: str) -> None:
    world.lies = [on(f"/api/models/{REPO}", with_status(302, {"Location": location}))]
    refused(world, "redirects")


@pytest.mark.parametrize(
    "sha", ["../../../etc/passwd", "main", "A" * 40, "", None, 7, "f" * 39, "f" * 40 + "\n"]
)
def test_a_commit_that_is_no_commit(world: World, sha: object) -> None:
    world.lies = [on(f"/api/models/{REPO}", rewrite({"sha": sha}))]
    refused(world, "malformed")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", None), ("path", "x" * 5000), ("size", -1), ("size", "12"), ("size", 1 << 60),
        ("size", True), ("oid", "../x"), ("oid", "g" * 40), ("lfs", {"oid": "0" * 63, "size": 1}),
        ("type", "link"),
    ],
)  # fmt: skip
def test_a_hostile_listing_value(world: World, field: str, value: object) -> None:
    world.lies = [on("/tree/", rows(lambda listing: listing[0].update({field: value})))]
    refused(world)


@pytest.mark.parametrize(
    "body", [b"", b"[", b'{"a":1,"a":2}', b"\xff", b"[" * 100_000, b'"x"', b"[1e999]"]
)
def test_answers_that_are_not_what_they_should_be(world: World, body: bytes) -> None:
    world.lies = [on("/tree/", with_body(body))]
    refused(world, "malformed")


@pytest.mark.parametrize("change", [-1, 1])
def test_another_size_in_the_listing(world: World, change: int) -> None:
    def lie(listing: list[dict[str, object]]) -> None:
        for row in listing:
            if row["path"] == "docs/notes.md":
                row["size"] += change  # type: ignore[operator]

    world.lies = [on("/tree/", rows(lie))]
    refused(world, "docs/notes.md")


def test_another_lfs_size_in_the_listing(world: World) -> None:
    def lie(listing: list[dict[str, object]]) -> None:
        for row in listing:
            if "lfs" in row:
                row["lfs"]["size"] += 1  # type: ignore[index]

    world.lies = [on("/tree/", rows(lie))]
    refused(world, "model.safetensors", "disagrees")


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Repo-Commit": OTHER},
        {"X-Repo-Commit": "../../x"},
        {"X-Linked-Etag": '"' + "0" * 64 + '"'},
        {"X-Linked-Etag": "../../../../tmp/x"},
        {"X-Linked-Size": "1"},
        {"X-Linked-Size": "-1"},
        {"X-Linked-Size": "9" * 5000},
    ],
)
def test_a_header_about_another_file(world: World, headers: Mapping[str, str]) -> None:
    world.lies = [on("model.safetensors", with_headers(headers))]
    refused(world, "model.safetensors")


def test_an_etag_of_another_small_file(world: World) -> None:
    world.lies = [on("config.json", with_headers({"ETag": f'"{OTHER}"'}))]
    refused(world, "config.json", "etag")


@pytest.mark.parametrize(
    "content_range",
    ["", "bytes 0-1/2", "bytes 5-4/3", "bytes 0-99999999999999999999/1", "items 1-2/3"],
)
def test_another_range_than_asked_for(world: World, content_range: str) -> None:
    world.lies = [
        lambda q, r: (
            with_headers({"Content-Range": content_range})(q, r) if "range" in q.headers else r
        )
    ]
    refused(world, "content-range")


def test_an_announced_length_that_is_wrong(world: World) -> None:
    world.lies = [on("docs/notes.md", lambda _q, r: replace(r, length=3, body=b"not"))]
    refused(world, "docs/notes.md", "content-length")


@pytest.mark.parametrize("value", [{}, [], {"a": []}, "x" * 100_000, 1e300])
def test_odd_claims_about_the_repository_are_only_claims(world: World, value: object) -> None:
    keys = ("gated", "private", "disabled", "tags", "cardData", "securityRepoStatus")
    world.lies = [on(f"/api/models/{REPO}", rewrite(dict.fromkeys(keys, value)), times=1)]
    assert world.fetch().source.commit == world.commit


@pytest.mark.parametrize("value", ["g" * 64, "x", 7, {}, "A" * 64])
def test_an_odd_xet_hash_means_plain_http(world: World, value: object) -> None:
    def lie(listing: list[dict[str, object]]) -> None:
        for row in listing:
            row["xetHash"] = value

    world.lies = [on("/tree/", rows(lie))]
    assert world.fetch().source.commit == world.commit


# --- redirects and the token ---------------------------------------------------------------------


@pytest.fixture
def elsewhere():
    """Another server on another port, which records what it is sent."""
    seen: list[Request] = []

    def respond(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, {}, WEIGHTS)

    with serving(respond) as url:
        yield url, seen


def test_a_redirect_elsewhere_is_not_followed(world: World) -> None:
    world.lies = [on("model.safetensors", with_status(302, {"Location": "https://evil.example/x"}))]
    refused(world, "redirects", "evil.example")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "/other/repo/resolve/main/model.safetensors",
        "/org/name/resolve/{commit}/../../../../x",
        "http://user:pw@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "http://[::1",
    ],
)
def test_a_redirect_to_an_odd_place(world: World, location: str) -> None:
    target = location.format(commit=world.commit)
    world.lies = [on("model.safetensors", with_status(302, {"Location": target}), times=1)]
    refused(world, "redirects")


def test_redirects_for_ever(world: World) -> None:
    world.lies = [
        on("docs/notes.md", lambda q, _r: Reply(302, {"Location": q.path})),
    ]
    refused(world, "docs/notes.md", "redirected more than")


def test_the_token_never_leaves_its_host(
    world: World, elsewhere: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = elsewhere
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    world.lies = [
        on("model.safetensors", with_status(302, {"Location": url + "/cdn/x?sig=1"})),
    ]
    snapshot = world.fetch()
    assert (snapshot.model_dir / "model.safetensors").read_bytes() == WEIGHTS
    assert world.requests
    assert all("hf_secret" in r.headers["authorization"] or "Basic" in r.headers["authorization"]
               for r in world.requests)  # fmt: skip
    assert seen
    assert all("authorization" not in r.headers and "cookie" not in r.headers for r in seen)
    for path in (p for p in world.base.rglob("*") if p.is_file()):
        assert b"hf_secret" not in path.read_bytes()


def test_a_token_over_plain_http_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from pratique.fetch.session import hub_session
    from pratique.fetch.urls import Endpoint

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with (
        pytest.raises(FetchError, match="in the clear"),
        hub_session(Endpoint.parse("http://mirror.example")),
    ):
        pass


def test_the_next_page_elsewhere(world: World) -> None:
    world.lies = [on("/tree/", with_headers({"Link": '<https://evil.example/x>; rel="next"'}))]
    refused(world, "another address")


def test_pages_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pratique.fetch.api.MAX_PAGES", 5)
    world.lies = [
        on("/tree/", lambda q, r: replace(
            r, body=b"[]", headers={**r.headers, "Link": f'<{world.hub.url}{q.path}>; rel="next"'}
        ))
    ]  # fmt: skip
    refused(world, "longer than")


# --- 429 and 5xx ---------------------------------------------------------------------------------


def test_429_is_obeyed_and_then_served(world: World) -> None:
    """Look-alike: a Hub that is busy and then is not."""
    world.lies = [on("resolve", with_status(429, {"Retry-After": "7"}), times=1)]
    world.fetch()
    assert sum(world.recorder.slept) == 7.0


def test_a_429_storm_ends(world: World) -> None:
    world.lies = [on("config.json", with_status(429, {"Retry-After": "1"}))]
    refused(world, "too many requests")
    assert len(world.recorder.slept) <= 2 * 8


def test_a_429_that_asks_for_a_day(world: World) -> None:
    world.lies = [on("/api/", with_status(429, {"Retry-After": "86400"}))]
    refused(world, "86400 seconds")
    assert world.recorder.slept == []


@pytest.mark.parametrize("where", ["/api/models/", "/tree/", "info/refs", "git-upload-pack"])
def test_503_is_asked_again_with_growing_pauses(world: World, where: str) -> None:
    world.lies = [on(where, with_status(503), times=2)]
    world.fetch()
    assert world.recorder.slept == [1.0, 2.0]


# --- listing against git -------------------------------------------------------------------------


def test_a_listing_that_hides_a_file(world: World) -> None:
    world.lies = [on("/tree/", rows(lambda listing: listing.pop()))]
    refused(world, "disagrees", "hides")


def test_a_listing_with_a_file_that_git_does_not_have(world: World) -> None:
    extra = {"type": "file", "oid": "1" * 40, "size": 1, "path": "evil.py"}
    world.lies = [on("/tree/", rows(lambda listing: listing.append(extra)))]
    refused(world, "evil.py", "disagrees")


def test_a_listing_with_another_id(world: World) -> None:
    world.lies = [on("/tree/", rows(lambda listing: listing[-1].update(oid="1" * 40)))]
    refused(world, "disagrees", "different ids")


def test_a_listing_with_another_lfs_digest(world: World) -> None:
    def lie(listing: list[dict[str, object]]) -> None:
        for row in listing:
            if "lfs" in row:
                row["lfs"]["oid"] = "0" * 64  # type: ignore[index]

    world.lies = [on("/tree/", rows(lie))]
    refused(world, "model.safetensors", "disagrees")


def test_a_listing_that_calls_a_small_file_large(world: World) -> None:
    def lie(listing: list[dict[str, object]]) -> None:
        for row in listing:
            if row["path"] == "config.json":
                row["lfs"] = {"oid": "0" * 64, "size": 5, "pointerSize": 130}

    world.lies = [on("/tree/", rows(lie))]
    refused(world, "config.json", "no LFS pointer")


def test_a_file_listed_twice(world: World) -> None:
    world.lies = [on("/tree/", rows(lambda listing: listing.append(listing[0])))]
    refused(world, "twice")


@pytest.mark.parametrize("path", ["../../evil", "/etc/passwd", "a\\..\\b", "x\u202etxt", "a/./b"])
def test_a_traversing_name_without_git(world: World, path: str) -> None:
    """Where git would catch it, the listing alone must not reach the disk either."""
    world.lies = [
        on("info/refs", with_status(404)),
        on("/tree/", rows(lambda listing: listing[-1].update(path=path))),
    ]
    before = sorted(p for p in world.base.rglob("*") if "home" not in p.parts)
    with pytest.raises(FetchError, match="file name"):
        world.fetch(rules=policy(commit_proof="reported"))
    assert sorted(p for p in world.base.rglob("*") if "home" not in p.parts) == before


# --- git ----------------------------------------------------------------------------------------


def test_git_objects_of_another_commit(world: World) -> None:
    (world.source / "config.json").write_bytes(b"{}")
    other = world.hub.add("org/other", world.source)
    assert other != world.commit
    world.lies = [
        on("git-upload-pack", lambda q, _r: world.hub.respond(
            replace(q, path="/org/other/git-upload-pack",
                    body=q.body.replace(world.commit.encode(), other.encode()))
        ))
    ]  # fmt: skip
    refused(world, "git")


def test_an_altered_pack(world: World) -> None:
    world.lies = [on("git-upload-pack", edited(lambda b: b[:-30] + bytes(10) + b[-20:]))]
    refused(world, "git")


def test_a_pack_that_is_cut(world: World) -> None:
    world.lies = [on("git-upload-pack", edited(lambda b: b[: len(b) // 2]))]
    refused(world, "git")


@pytest.mark.parametrize("body", [b"", b"0000", b"zzzz", b"ffff", b"0009ERR \n", b"\0" * 100])
def test_git_answers_nonsense(world: World, body: bytes) -> None:
    world.lies = [on("git-upload-pack", with_body(body))]
    refused(world)


def test_git_without_trees(world: World) -> None:
    def lie(request: Request, reply: Reply) -> Reply:
        hosted = world.hub.repos[REPO]
        only = {k: v for k, v in hosted.objects.items() if v[0] != "tree"}
        world.hub.repos[REPO] = replace(hosted, objects=only)
        try:
            return world.hub.respond(request)
        finally:
            world.hub.repos[REPO] = hosted

    world.lies = [on("git-upload-pack", lie)]
    refused(world, "git", "tree")


def test_git_redirects_elsewhere(world: World) -> None:
    world.lies = [on("info/refs", with_status(302, {"Location": "https://evil.example/x"}))]
    refused(world, "no git access")


def test_git_sends_us_to_another_host_for_the_pack(
    world: World, elsewhere: tuple[str, list[Request]]
) -> None:
    """packfile-uris (gitprotocol-v2(5)): a server may name any URL for the pack."""
    url, seen = elsewhere
    line = f"{url}/pack sha1 {'0' * 40}\n".encode()
    body = (
        b"0012packfile-uris\n" + f"{len(line) + 4:04x}".encode() + line + b"0001000dpackfile\n0000"
    )
    world.lies = [
        on(
            "git-upload-pack",
            lambda q, r: replace(r, body=body) if b"command=fetch" in q.body else r,
        )
    ]
    refused(world, "git")
    assert seen == []


def test_no_git_is_refused_by_default(world: World) -> None:
    world.lies = [on("info/refs", with_status(404))]
    refused(world, "no git access")


def test_no_git_is_reported_where_the_policy_says_so(world: World) -> None:
    """Look-alike: the same Hub under a policy that only wants it reported."""
    world.lies = [on("info/refs", with_status(404))]
    snapshot = world.fetch(rules=policy(commit_proof="reported"))
    assert snapshot.proof == "none"


def test_a_git_server_that_fails_is_not_a_hub_without_git(world: World) -> None:
    """A 500 must not turn a provable commit into `proof: none`."""
    world.lies = [on("info/refs", with_status(500))]
    with pytest.raises(FetchError, match="git"):
        world.fetch(rules=policy(commit_proof="reported"))


# --- everything stays where it belongs -----------------------------------------------------------


def test_nothing_is_written_outside_the_home(world: World) -> None:
    """Every write of a fetch is below its home: the rest of the disk is read-only for the process."""
    before = {p: p.stat().st_mtime_ns for p in world.base.rglob("*")}
    home_before = set(Path.home().iterdir())
    cwd_before = set(Path.cwd().iterdir())
    snapshot = world.fetch()
    assert snapshot.model_dir.is_relative_to(world.home)
    for path, when in before.items():
        assert path.stat().st_mtime_ns == when or path == world.base
    new = set(world.base.rglob("*")) - before.keys()
    assert all(p == world.home or p.is_relative_to(world.home) for p in new)
    assert set(Path.home().iterdir()) == home_before
    assert set(Path.cwd().iterdir()) == cwd_before


def test_a_second_fetch_at_once_is_told_to_wait(world: World) -> None:
    from pratique.store.quarantine import quarantine_dir, snapshot_dir_name, workspace

    final = quarantine_dir(world.home) / snapshot_dir_name(REPO, CommitSha(world.commit))
    with workspace(final), pytest.raises(StorageError, match="another process"):
        world.fetch()


def test_messages_repeat_nothing_raw(world: World) -> None:
    world.lies = [
        on("/api/", with_status(400, {"X-Error-Message": "\x1b[31mpay here https://evil\x1b[0m"}))
    ]
    error = refused(world)
    assert not re.search(r"\x1b|evil", error.message + error.hint)
