"""Large bodies are read past the HTTP parser: every way to end must end the same as through it."""

import random
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from pratique.errors import FetchError
from pratique.fetch.body import Reader, body
from pratique.flows.loopback_hub import Reply, serving
from tests.support.hub.world import MODEL, World, content, cut_after, flip_last_byte, on, stalled

BODY = (2).to_bytes(8, "little") + b"{}" + random.Random(3).randbytes((9 << 20) + 12345)
NAME = "model.safetensors"


def read(reply: Reply, *, directly: bool = True) -> bytes:
    replies = iter([reply])
    with (
        serving(lambda _: next(replies, Reply(200))) as url,
        httpx2.Client(timeout=10) as client,
    ):
        with client.stream("GET", url) as response:
            got = drained(body(response, timeout=10, directly=directly))
        assert client.get(url + "/again").status_code == 200, "the client is still usable"
    return got


def drained(read: Reader, size: int = 100_000) -> bytes:
    room = bytearray(size)
    got = b""
    while count := read(memoryview(room)):
        got += room[:count]
    return got


@pytest.mark.parametrize("directly", [True, False])
@pytest.mark.parametrize("size", [0, 1, 65_536, 8 << 20, (8 << 20) + 1, len(BODY)])
def test_the_body_is_the_body(size: int, directly: bool) -> None:
    assert read(Reply(200, {}, BODY[:size]), directly=directly) == BODY[:size]


def test_what_follows_the_body_is_not_part_of_it() -> None:
    """Bytes beyond the announced length (a smuggled answer) are never read as body."""
    reply = Reply(200, {}, iter([BODY + b"HTTP/1.1 200 OK\r\n\r\n"]), length=len(BODY))
    assert read(reply) == BODY


def test_chunked_bodies_go_through_the_parser() -> None:
    chunks = [b"%x\r\n" % len(BODY) + BODY + b"\r\n", b"0\r\n\r\n"]
    assert read(Reply(200, {"Transfer-Encoding": "chunked"}, iter(chunks))) == BODY


def test_an_early_end_is_an_early_end() -> None:
    assert read(Reply(200, {}, iter([BODY[:-1]]), length=len(BODY))) == BODY[:-1]


def test_without_a_connection_to_read_from_the_parser_does_it() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=BODY))
    with httpx2.Client(transport=transport) as client, client.stream("GET", "http://x/") as answer:
        assert drained(body(answer, timeout=1, directly=True)) == BODY


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {**MODEL, NAME: BODY})


def whole(lie):
    return lambda q, r: r if q.headers.get("range", "").startswith("bytes=0-") else lie(q, r)


@pytest.mark.parametrize("cut", [1, 65_537, 8 << 20, len(BODY) - 1])
def test_a_large_file_goes_on_after_a_cut(world: World, cut: int) -> None:
    world.lies = [whole(on(NAME, cut_after(cut), times=1))]
    assert (world.fetch().model_dir / NAME).read_bytes() == BODY
    assert f"bytes={cut}-{len(BODY) - 1}" in [r.headers.get("range") for r in world.asked(NAME)]


def test_a_large_file_with_a_wrong_byte_is_refused(world: World) -> None:
    world.lies = [whole(on(NAME, flip_last_byte))]
    with pytest.raises(FetchError, match="twice"):
        world.fetch()


def test_a_large_file_with_a_wrong_byte_once_is_fetched_again(world: World) -> None:
    world.lies = [whole(on(NAME, flip_last_byte, times=1))]
    assert (world.fetch().model_dir / NAME).read_bytes() == BODY


def test_a_large_file_that_stalls_is_given_up(world: World) -> None:
    world.lies = [whole(on(NAME, stalled(world, 1 << 20), times=1)), _then_nothing(world)]
    with pytest.raises(FetchError, match="in time"):
        world.fetch(timeout=1)


def _then_nothing(world: World):
    """After the first stall every further request stalls at once."""
    hang = stalled(world, 0)
    return lambda q, r: hang(q, r) if q.headers.get("range", "").startswith("bytes=1048576") else r


def test_a_large_file_longer_than_listed_is_refused(world: World) -> None:
    longer = whole(on(NAME, lambda _q, r: replace(r, body=iter([content(r) + b"x"]), length=None)))
    world.lies = [longer]
    with pytest.raises(FetchError, match="longer"):
        world.fetch()
