"""More lies of a Hub: storms, floods, names, links and moves. One test per lie."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from pratique.core.candidate import EntryKind
from pratique.core.stages import Stage
from pratique.errors import FetchError, VerificationRefused
from pratique.fetch.gating import GateRefused
from pratique.fetch.pinning import HubRequest
from pratique.flows.loopback_hub import Reply, Request
from tests.support.hub.world import (
    MODEL,
    REPO,
    WEIGHTS,
    Lie,
    World,
    cut_after,
    edited,
    on,
    policy,
    with_body,
    with_headers,
    with_status,
    write_tree,
)

NAME = "model.safetensors"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(world: World, *words: str) -> None:
    with pytest.raises(FetchError) as caught:
        world.fetch()
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    assert world.finals == []


# --- patience ------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["999999999", "9" * 4000])
def test_retry_after_ages(world: World, told: str) -> None:
    world.lies = [on(NAME, with_status(429, {"Retry-After": told}))]
    refused(world, "seconds")
    assert world.recorder.slept == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize("heads", [True, False])
def test_a_storm_ends_wherever_it_breaks_out(world: World, status: int, *, heads: bool) -> None:
    storm = on(NAME, with_status(status))
    world.lies = [storm if heads else _but_heads(storm)]
    refused(world, NAME)
    assert sum(world.recorder.slept) == 1.0 + 2.0


@pytest.mark.parametrize("told", ["0", "-5", "soon", "", "1e9", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_retry_after_nothing_is_a_storm_that_ends(world: World, told: str) -> None:
    """A date long past, zero, nonsense: asked again some times, then given up."""
    world.lies = [on("config.json", with_status(503, {"Retry-After": told}))]
    refused(world, "config.json")
    assert len(world.asked("config.json")) <= 3


def test_retry_after_a_date_a_year_away(world: World) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(days=365), usegmt=True)
    world.lies = [on("/tree/", with_status(429, {"Retry-After": later}))]
    refused(world, "seconds")
    assert world.recorder.slept == []


def test_cuts_after_each_few_bytes_end(world: World) -> None:
    """A server that gives a little each time and hangs up must not keep us for ever."""
    world.lies = [on(f"{world.commit}/{NAME}", _but_heads(cut_after(100)))]
    refused(world, NAME)
    assert len(world.asked(NAME)) <= 5


def _but_heads(lie: Lie) -> Lie:
    return lambda q, r: r if q.headers.get("range", "").startswith("bytes=0-") else lie(q, r)


# --- floods --------------------------------------------------------------------------------------


def test_a_listing_of_a_million_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page of honest rows: refused when there are too many, not when memory ends."""
    monkeypatch.setattr("pratique.fetch.api.MAX_PATHS", 20_000)

    def page(request: Request, _reply: Reply) -> Reply:
        number = int(request.query.get("cursor", "0"))
        rows = [
            {"type": "file", "oid": "1" * 40, "size": 1, "path": f"{number}/{i}"}
            for i in range(999)
        ]
        url = f"{world.hub.url}{request.path}?cursor={number + 1}"
        return Reply(200, {"Link": f'<{url}>; rel="next"'}, json.dumps(rows).encode())

    world.lies = [on("/tree/", page)]
    refused(world, "longer than 20000 files")
    assert len(world.asked("/tree/")) == 21


def test_a_page_that_leads_to_itself(world: World) -> None:
    world.lies = [
        on("/tree/", lambda q, r: with_headers(
            {"Link": f'<{world.hub.url}{q.path}?recursive=true>; rel="next"'})(q, r))
    ]  # fmt: skip
    refused(world)
    assert len(world.asked("/tree/")) <= 2001


@pytest.mark.parametrize(
    "link",
    [
        '<http://127.0.0.1:1/x>; rel="next"', '<file:///etc/passwd>; rel="next"',
        '<//evil.example/x>; rel="next"', '</api/models/other/repo/tree/x>; rel="next"',
        '<http://[>; rel="next"', '<>; rel="next"', '<\x00>; rel="next"',
    ],
)  # fmt: skip
def test_the_next_page_at_an_odd_place(world: World, link: str) -> None:
    world.lies = [on("/tree/", with_headers({"Link": link.replace("\x00", "%00")}), times=1)]
    with contextlib.suppress(FetchError):
        world.fetch()
    assert {request.path.split("/tree/")[0] for request in world.asked("/tree/")} == {
        f"/api/models/{REPO}"
    }


@pytest.mark.parametrize(
    "where", ["/api/models/", "/tree/", "info/refs", "git-upload-pack", "resolve"]
)
def test_a_compressed_answer_anywhere(world: World, where: str) -> None:
    """A gzip bomb never reaches a decompressor, because there is none."""
    world.lies = [on(where, with_headers({"Content-Encoding": "gzip"}))]
    refused(world, "compressed")


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"org/name","id":"org/other","sha":"' + b"1" * 40 + b'"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"sha":' + b"9" * 100_000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"id":"org/name","sha":NaN}',
    ],
    ids=["twice", "deep", "long number", "mark", "NaN"],
)
def test_repository_information_of_two_meanings(world: World, body: bytes) -> None:
    world.lies = [on(f"/api/models/{REPO}", with_body(body))]
    refused(world, "malformed")


# --- names and kinds -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "a\0b",
        "a\nb",
        "",
        ".",
        "..",
        "a//b",
        "/",
        "C:x",
        "con.json",
        "a ",
        "a.",
        "x" * 300,
        "a/" * 70,
    ],
)
def test_a_name_that_no_disk_should_see(world: World, path: str) -> None:
    def rename(body: bytes) -> bytes:
        rows = json.loads(body)
        rows[-1]["path"] = path
        return json.dumps(rows).encode()

    world.lies = [on("info/refs", with_status(404)), on("/tree/", edited(rename))]
    before = sorted(p for p in world.base.rglob("*") if "home" not in p.parts)
    with pytest.raises(FetchError):
        world.fetch(rules=policy(commit_proof="reported"))
    assert sorted(p for p in world.base.rglob("*") if "home" not in p.parts) == before


def test_a_symlink_in_the_commit_is_shown_as_one_and_never_made(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.commit = world.hub.add(
        REPO,
        world.source,
        files={"tokenizer.model": b"/etc/passwd"},
        modes={"tokenizer.model": "120000"},
    )
    with pytest.raises(VerificationRefused, match=r"tokenizer\.model"):
        world.fetch()  # the gate refuses it; this one passes everything
    _, candidate, _ = world.gate.seen[0]
    kinds = {entry.path: entry.kind for entry in candidate.listing or ()}
    assert kinds["tokenizer.model"] is EntryKind.LINK
    assert not [p for p in world.home.rglob("*") if p.is_symlink()]


def test_a_submodule_is_shown_as_one_and_not_fetched(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.commit = world.hub.add(
        REPO, world.source, files={"other": b"x"}, modes={"other": "160000"}
    )

    def hide(body: bytes) -> bytes:
        return json.dumps([row for row in json.loads(body) if row["path"] != "other"]).encode()

    world.lies = [on("/tree/", edited(hide))]
    world.gate.at = Stage.LISTING
    with pytest.raises(GateRefused):
        world.fetch()
    _, candidate, _ = world.gate.seen[0]
    kinds = {entry.path: entry.kind for entry in candidate.listing or ()}
    assert kinds["other"] is EntryKind.SUBMODULE


# --- moves ---------------------------------------------------------------------------------------


def _cut_once(world: World) -> None:
    """The first fetch ends in the middle of the weights."""
    world.lies = [_but_heads(on(NAME, cut_after(200_000), times=1))]
    world.lies.append(
        lambda q, r: (
            with_status(404)(q, r) if q.headers.get("range", "").startswith("bytes=200000-") else r
        )
    )
    with pytest.raises(FetchError):
        world.fetch(HubRequest(REPO, world.commit))
    world.lies = []
    world.requests.clear()


def _moved(world: World) -> str:
    """Upstream puts another model under the same name."""
    other = write_tree(world.base / "moved", {**MODEL, NAME: WEIGHTS[:-1] + b"!"})
    return world.hub.add(REPO, other)


def test_a_pinned_commit_holds_when_upstream_moves_between_two_attempts(world: World) -> None:
    _cut_once(world)
    moved = _moved(world)
    snapshot = world.fetch(HubRequest(REPO, world.commit))
    assert snapshot.source.commit == world.commit != moved
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    ranges = [r.headers.get("range") for r in world.asked(NAME)]
    assert f"bytes=200000-{len(WEIGHTS) - 1}" in ranges


def test_a_branch_that_moved_between_two_attempts_is_fetched_anew_and_unmixed(world: World) -> None:
    _cut_once(world)
    moved = _moved(world)
    snapshot = world.fetch(HubRequest(REPO, "main"))
    assert snapshot.source.commit == moved
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS[:-1] + b"!"


def test_upstream_that_moves_in_the_middle_changes_nothing(world: World) -> None:
    """After the pin everything is asked for by commit: a branch may point elsewhere."""
    moving: list[Callable[[], str]] = [lambda: _moved(world)]

    def move(request: Request, reply: Reply) -> Reply:
        if moving and "/tree/" in request.path:
            moving.pop()()
        return replace(reply)

    world.lies = [move]
    snapshot = world.fetch(HubRequest(REPO, "main"))
    assert snapshot.source.commit == world.commit
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
