"""Xet storage with the real hf_xet, against storage of ours in the published format; and its lies.

Whatever storage does, the file is there in the end, byte for byte, by plain HTTP if need be; and
hf_xet reaches no host, no token and no folder that is not for it.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from pratique.errors import FetchError
from pratique.fetch.outlet import outlet
from pratique.fetch.urls import Endpoint, origin_of
from pratique.fetch.xet import is_reachable
from pratique.flows.loopback_hub import Reply, Request, serving
from tests.support.hub.world import (
    MODEL,
    WEIGHTS,
    Lie,
    World,
    cut_after,
    edited,
    endless,
    flip_last_byte,
    on,
    stalled,
    with_status,
)
from tests.support.hub.xet import CHUNK, GROUPED_LZ4, LZ4, NONE, XetStorage, file_hash, offered

NAME = "model.safetensors"
BIG = WEIGHTS + random.Random(3).randbytes(CHUNK * 70) + bytes(CHUNK * 3) + b"end"
"""More than one xorb, compressible and not, and no multiple of a chunk."""


class XetWorld(World):
    """A Hub whose large file lies in Xet storage."""

    def __init__(self, base: Path, scheme: int = NONE) -> None:
        super().__init__(base, {**MODEL, NAME: BIG})
        self.storage = XetStorage()
        self.name = self.storage.add(BIG, scheme)
        self.lies = [offered(self, self.storage, self.name)]

    @property
    def over_http(self) -> list[str]:
        """Ranges of the file asked for over plain HTTP; the request for the head is left out."""
        ranges = [r.headers.get("range", "") for r in self.asked(f"/resolve/{self.commit}/{NAME}")]
        return [r for r in ranges if not r.startswith("bytes=0-")]

    def arrives(self, timeout: float = 20.0) -> None:
        """The fetch succeeds, and the file is what it should be."""
        snapshot = self.fetch(timeout=timeout)
        assert (snapshot.model_dir / NAME).read_bytes() == BIG


@pytest.fixture
def world(tmp_path: Path) -> XetWorld:
    return XetWorld(tmp_path)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("scheme", [NONE, LZ4, GROUPED_LZ4])
def test_the_real_client_downloads_the_file(tmp_path: Path, scheme: int, version: str) -> None:
    world = XetWorld(tmp_path, scheme)
    world.storage.versions = (version,)
    world.arrives()
    assert world.over_http == []
    assert world.asked(f"/cas/{version}/reconstructions/{world.name}")


@pytest.mark.parametrize("size", [1, 5000, 40 * (128 << 10)])
def test_our_hashes_are_those_of_the_real_client(tmp_path: Path, size: int) -> None:
    """Zeros are cut at the longest chunk that there is, 128 KiB: so the tree can be compared."""
    (tmp_path / "f").write_bytes(bytes(size))
    code = "import hf_xet, sys; print(hf_xet.hash_files([sys.argv[1]])[0].hash)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f")],
        env={"HF_XET_CACHE": str(tmp_path / "cache"), "HF_XET_LOG_DEST": os.devnull},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    chunks = [bytes(min(128 << 10, size - at)) for at in range(0, size, 128 << 10)]
    assert done.stdout.strip() == file_hash(chunks)


@pytest.mark.parametrize("have", [1, 70_001, CHUNK * 64, len(BIG) - 1])
def test_it_goes_on_at_the_exact_byte(world: XetWorld, have: int) -> None:
    """What an earlier run left is not asked for again."""
    honest = world.lies
    world.lies = [on(f"{world.commit}/{NAME}", with_status(404))]
    world.lies[0] = _but_heads(world.lies[0])
    with pytest.raises(FetchError):
        world.fetch()
    (part,) = world.home.rglob("*.part")
    part.write_bytes(BIG[:have])
    world.lies = honest
    world.requests.clear()
    world.arrives()
    assert world.over_http == []
    assert _ranges(world) == [f"bytes={have}-{len(BIG) - 1}"]


def _but_heads(lie: Lie) -> Lie:
    return lambda q, r: r if q.headers.get("range", "").startswith("bytes=0-") else lie(q, r)


def _ranges(world: XetWorld) -> list[str]:
    return [r.headers.get("range", "") for r in world.asked("/reconstructions/")]


# --- storage that lies, or breaks ----------------------------------------------------------------


def test_wrong_bytes_in_a_xorb(world: XetWorld) -> None:
    world.lies.append(on("/xorb/", flip_last_byte))
    world.arrives()
    assert world.over_http == [""]


def test_another_files_reconstruction(world: XetWorld) -> None:
    """Storage answers for a file of the same size."""
    world.storage.files[world.name] = world.storage.files[world.storage.add(BIG[::-1])]
    world.arrives()
    assert world.over_http == [""]


@pytest.mark.parametrize(
    "lie",
    [
        on("/xorb/", cut_after(100_000)),
        on("/xorb/", edited(lambda body: body[:100_000])),
        on("/xorb/", edited(lambda _: b"")),
        on("/xorb/", edited(lambda body: b"\xff" * len(body))),
        on("/xorb/", with_status(403)),
        on("/xorb/", with_status(416)),
        on("/reconstructions/", with_status(401)),
        on("/reconstructions/", with_status(404)),
        on("/reconstructions/", edited(lambda _: b"{")),
        on("/reconstructions/", edited(lambda _: b"[" * 100_000)),
        on("/reconstructions/", edited(lambda b: b.replace(b'"start": 0', b'"start": 9999999'))),
        on("/reconstructions/", edited(lambda b: b.replace(b'"unpacked_length"', b'"x"'))),
        on("/xet-read-token/", with_status(403)),
        on("/xet-read-token/", edited(lambda _: b"{}")),
        on("/xet-read-token/", endless()),
    ],
)
def test_storage_that_breaks_or_talks_nonsense(world: XetWorld, lie: Lie) -> None:
    world.lies.append(lie)
    world.arrives()
    assert world.over_http


@pytest.mark.parametrize("where", ["/xorb/", "/reconstructions/"])
def test_storage_that_is_down(world: XetWorld, where: str) -> None:
    world.lies.append(on(where, with_status(500)))
    world.arrives(timeout=5)
    assert world.over_http


@pytest.mark.parametrize("where", ["/xorb/", "/reconstructions/"])
def test_storage_that_stalls_is_given_up(world: XetWorld, where: str) -> None:
    world.lies.append(on(where, stalled(world, 10)))
    world.arrives(timeout=1)
    assert world.over_http == [""]


@pytest.mark.parametrize("where", ["/xorb/", "/reconstructions/"])
def test_storage_that_never_ends_is_given_up(world: XetWorld, where: str) -> None:
    world.lies.append(on(where, endless(b" " * 65536)))
    world.arrives(timeout=1)
    assert world.over_http == [""]


def test_an_expired_token_is_not_used(world: XetWorld) -> None:
    world.storage.expires = 1
    world.arrives()
    assert not world.asked("/cas/")


# --- where hf_xet can go -------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[Request]]]:
    """A service on this machine under a name that nobody expects."""
    seen: list[Request] = []

    def respond(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, {}, b"internal")

    with serving(respond) as url:
        yield url.replace("127.0.0.1", "localhost"), seen


@pytest.mark.parametrize("place", ["casUrl", "xorb", "redirect of /xorb/", "redirect of /recon"])
def test_storage_cannot_send_hf_xet_to_an_internal_service(
    world: XetWorld, elsewhere: tuple[str, list[Request]], place: str
) -> None:
    url, seen = elsewhere
    aside = with_status(302, {"Location": f"{url}/secret"})
    world.lies.append(
        {
            "casUrl": on("/xet-read-token/", _json_edited(lambda v: v.update(casUrl=url + "/cas"))),
            "xorb": on("/reconstructions/", edited(
                lambda b: b.replace(world.hub.url.encode(), url.encode())
            )),
            "redirect of /xorb/": on("/xorb/", aside),
            "redirect of /recon": on("/reconstructions/", aside),
        }[place]
    )  # fmt: skip
    world.arrives(timeout=5)
    assert seen == []
    assert world.over_http


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname", "http://169.254.169.254/latest", "https://127.0.0.1.evil.example/x",
        "http://[::1]:1/x", "http://localhost/x", "unix:///run/x", "", "http://x:y@127.0.0.1:1/",
    ],
)  # fmt: skip
def test_odd_addresses_of_xorbs(world: XetWorld, url: str) -> None:
    def change(value: dict[str, dict[str, list[dict[str, str]]]]) -> None:
        for sources in value["xorbs"].values():
            for source in sources:
                source["url"] = url

    world.lies.append(on("/reconstructions/", _json_edited(change)))
    world.arrives(timeout=5)
    assert world.over_http == [""]


@pytest.mark.parametrize("url", ["file:///etc", "local:///tmp", "unix:///x", "http://0x7f000001/"])
def test_odd_addresses_of_storage(world: XetWorld, url: str) -> None:
    world.lies.append(on("/xet-read-token/", _json_edited(lambda v: v.update(casUrl=url))))
    world.arrives()
    assert world.over_http == [""]


def _json_edited(change: object) -> Lie:
    def edit(body: bytes) -> bytes:
        value = json.loads(body)
        change(value)  # type: ignore[operator]
        return json.dumps(value).encode()

    return edited(edit)


def test_nobody_else_can_use_the_way_out() -> None:
    """Without the password, and for an origin that is not expected."""
    with serving(lambda _q: Reply(200, {}, b"hello")) as url:
        port = int(url.rsplit(":", 1)[1])
        with outlet(lambda origin: origin.port == port, timeout=5) as out:
            assert _through(out.url, url) == (200, b"hello")
            bare = "http://" + out.url.rsplit("@", 1)[1]
            assert _through(bare, url)[0] == 403
            assert _through(out.url, "http://127.0.0.1:1/")[0] == 403
            assert out.refused == ["http://127.0.0.1:1/"]


def _through(proxy: str, url: str) -> tuple[int, bytes]:
    with httpx2.Client(proxy=proxy, timeout=10) as client:
        answer = client.get(url)
        return answer.status_code, answer.content


# --- what hf_xet is given ------------------------------------------------------------------------


def test_the_hubs_token_is_not_given_to_storage(
    world: XetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    world.arrives()
    assert world.over_http == []
    assert world.asked("/xet-read-token/")[0].headers["authorization"] == "Bearer hf_secret"
    for request in (*world.asked("/cas/"), *world.asked("/xorb/")):
        assert "hf_secret" not in str(request.headers)
        assert "proxy-authorization" not in request.headers
    assert {r.headers.get("authorization") for r in world.asked("/xorb/")} == {None}


def test_nothing_is_written_elsewhere_and_nothing_is_reported(
    world: XetWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hf_xet's logs, caches and reports: none, wherever it would have put them."""
    home = tmp_path / "user"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_XET_CACHE", "TMPDIR"):
        monkeypatch.setenv(name, str(home))
    world.arrives()
    assert world.over_http == []
    assert list(home.rglob("*")) == []
    (final,) = world.finals
    assert {p.name for p in final.iterdir()} == {"model", "provenance", "snapshot.json"}
    assert [r.path for r in world.requests if r.method == "POST"] == [
        r.path for r in world.asked("git-upload-pack")
    ]
    assert not world.asked("telemetry")


def test_a_users_proxy_is_not_gone_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """hf_xet's way out does not lead through a proxy: with one, the file comes over plain HTTP."""
    endpoint = Endpoint.parse("https://hub.example", redirect_hosts=("cas.example",))
    origin = origin_of("https://cas.example/x")
    assert origin is not None
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert is_reachable(endpoint, origin)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert not is_reachable(endpoint, origin)
    monkeypatch.setenv("NO_PROXY", "cas.example")
    assert is_reachable(endpoint, origin)
