"""Access: tokens, gated and private repositories, own CAs, client certificates, proxies, offline."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, get_session

from pratique.errors import FetchError, UnreadableInput, UsageError
from pratique.fetch.session import Tls, hub_session
from pratique.fetch.urls import Endpoint
from pratique.flows.loopback_http import Reply, Request, serving
from tests.support.hub.tls import make_pki, tls_serving
from tests.support.hub.world import REPO, World, content, on, with_status


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refusal(world: World) -> FetchError:
    with pytest.raises(FetchError) as caught:
        world.fetch()
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (403, "GatedRepo", "gated", "accept the conditions"),
        (401, "GatedRepo", "gated", "accept the conditions"),
        (404, "RepoNotFound", "not found", "hf auth login"),
        (401, "", "not found", "HF_TOKEN"),
        (403, "", "forbids", "read permission"),
        (404, "RevisionNotFound", "revision", "branch"),
        (500, "", "answered 500", "later"),
        (400, "", "answered 400", "later"),
    ],
)
def test_refusals_say_what_to_do(
    world: World, status: int, code: str, message: str, hint: str
) -> None:
    world.lies = [on("/api/models/", with_status(status, {"X-Error-Code": code}))]
    error = refusal(world)
    assert message in error.message
    assert hint in error.hint
    assert error.exit_code == 4


def test_a_gated_repository_names_the_page_to_open(world: World) -> None:
    world.lies = [on("resolve", with_status(403, {"X-Error-Code": "GatedRepo"}))]
    assert f"/{REPO} " in refusal(world).hint


@pytest.mark.parametrize(
    ("status", "headers"), [(401, {}), (403, {"X-Error-Code": "GatedRepo"}), (403, {})]
)
def test_git_that_wants_a_token_is_not_a_hub_without_git(
    world: World, status: int, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gated repository shows its description to everybody and its git to nobody else."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    world.hub.repos[REPO].facts["gated"] = "auto"
    world.lies = [on("info/refs", with_status(status, headers))]
    error = refusal(world)
    assert "no git access" not in error.message
    assert "HF_TOKEN" in error.hint


@pytest.mark.parametrize("place", ["environment", "file"])
def test_tokens_come_from_the_usual_places(
    world: World, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if place == "environment":
        monkeypatch.setenv("HF_TOKEN", "hf_abc")
    else:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        (tmp_path / "token").write_text("hf_abc\n")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    world.fetch()
    assert {r.headers.get("authorization") for r in world.asked("/api/")} == {"Bearer hf_abc"}
    assert all(r.headers["authorization"].startswith("Basic ") for r in world.asked("info/refs"))


def test_without_a_token_none_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    world.fetch()
    assert all("authorization" not in r.headers for r in world.requests)


def test_offline_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refusal(world)
    assert "HF_HUB_OFFLINE" in error.message


def test_nobody_listens() -> None:
    with serving(lambda _: Reply()) as url:
        pass
    world_endpoint = Endpoint.parse(url)
    from pratique.fetch.patience import Patience

    quick = Patience(attempts=2, sleep=lambda _: None)
    with (
        hub_session(world_endpoint, patience=quick) as session,
        pytest.raises(FetchError, match="cannot connect"),
    ):
        session.get(url + "/x", limit=1, what="x")


def test_the_hubs_own_helpers_obey_our_session(world: World) -> None:
    """huggingface_hub's shared client is ours meanwhile, and its own again afterwards."""
    before = get_session()
    with world.hub.running(world.respond) as url, hub_session(Endpoint.parse(url)):
        assert not get_session().follow_redirects
        assert HfApi(endpoint=url).model_info(REPO).sha == world.commit
    assert get_session() is not before
    assert get_session().follow_redirects


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


def hello(_request: Request) -> Reply:
    return Reply(200, {}, b"hello")


@pytest.fixture
def tls_server(pki: Path) -> Iterator[str]:
    """A server that wants a client certificate of our CA."""
    with tls_serving(pki, hello, wants_certificate=True) as url:
        yield url


def ask(url: str, tls: Tls) -> bytes:
    from pratique.fetch.patience import Patience

    quick = Patience(attempts=1, sleep=lambda _: None)
    with hub_session(Endpoint.parse(url), tls=tls, patience=quick, timeout=10) as session:
        return session.get(url + "/x", limit=100, what="x").body


def test_own_ca_and_client_certificate(tls_server: str, pki: Path) -> None:
    tls = Tls(pki / "ca.pem", pki / "client.pem", pki / "client.key")
    assert ask(tls_server, tls) == b"hello"


def test_an_unknown_ca_is_refused(tls_server: str, pki: Path) -> None:
    with pytest.raises(FetchError, match="no trusted TLS") as caught:
        ask(tls_server, Tls())
    assert "--ca" in caught.value.hint


def test_a_server_that_wants_a_certificate(tls_server: str, pki: Path) -> None:
    with pytest.raises(FetchError):
        ask(tls_server, Tls(pki / "ca.pem"))


def test_own_tls_keeps_hf_xet_out(tls_server: str, pki: Path) -> None:
    """hf_xet opens connections of its own, which know neither our CA nor our certificate."""
    from pratique.fetch.xet import hub_xet

    endpoint = Endpoint.parse(tls_server)
    for tls, usable in ((Tls(), True), (Tls(pki / "ca.pem"), False)):
        with hub_session(endpoint, tls=tls, timeout=7) as session:
            assert session.timeout == 7
            assert (hub_xet(session, REPO, "1" * 40, pki) is not None) is usable


@pytest.mark.parametrize("name", ["nothing.pem", "client.key"])
def test_unusable_pem_files_are_named(pki: Path, name: str) -> None:
    with pytest.raises(UnreadableInput, match=name):
        Tls(certificate=pki / name).verify()


# --- a proxy -------------------------------------------------------------------------------------


def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []

    def proxy(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, {}, b"by proxy")

    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        with hub_session(Endpoint.parse("http://hub.example")) as session:
            answer = session.get("http://hub.example/x", limit=100, what="x")
    assert answer.body == b"by proxy"
    assert seen[0].headers["host"] == "hub.example"


def test_a_token_never_goes_to_a_proxy_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is this machine; through a proxy it is the proxy's."""
    seen: list[Request] = []

    def record(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, {}, b"{}")

    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    with serving(record) as url:
        monkeypatch.setenv("http_proxy", "http://user:password@127.0.0.1:9")
        with (
            pytest.raises(FetchError, match="through a proxy") as caught,
            hub_session(Endpoint.parse(url)),
        ):
            pass
        assert "password" not in str(caught.value)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with hub_session(Endpoint.parse(url)) as session:
            session.get(url + "/x", limit=100, what="x")
    assert seen[0].headers["authorization"] == "Bearer hf_abcdefgh"


# --- what we say, and to whom --------------------------------------------------------------------


def test_the_official_hub_hears_nothing_when_another_is_meant(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The client library asks it for a list of its own, unless it is kept from doing so."""
    elsewhere: list[Request] = []

    def official(request: Request) -> Reply:
        elsewhere.append(request)
        return Reply(200, {}, b"{}")

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serving(official) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        world.fetch()
    assert elsewhere == []
    agents = {request.headers["user-agent"] for request in world.requests}
    assert all("torch" not in agent for agent in agents)
    known = ("/api/models/", f"/{REPO}/resolve/", f"/{REPO}/info/refs", f"/{REPO}/git-upload-pack")
    assert all(request.path.startswith(known) for request in world.requests)


@pytest.mark.parametrize(
    "token", ["hf_a\nX-Evil: 1", "hf_ünï", "hf_a b", "hf_\x1b[31m", "hf_\u202e"]
)
def test_what_is_no_token_is_said_and_not_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr("pratique.fetch.credentials.get_token", lambda: token)
    with pytest.raises(UsageError, match="is not one") as caught:
        world.fetch()
    assert token not in str(caught.value) + caught.value.hint
    assert world.requests == []


def test_a_token_that_cannot_be_had_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise PermissionError("/root/secret-place")

    monkeypatch.setattr("pratique.fetch.credentials.get_token", broken)
    with pytest.raises(FetchError, match="PermissionError") as caught:
        world.fetch()
    assert "secret-place" not in str(caught.value)


@pytest.mark.parametrize("where", ["/api/models/org/name", "/tree/"])
def test_an_answer_that_repeats_the_token_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Answers are carried in the bundle, byte for byte."""
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")

    def repeat(request: Request, reply: Reply) -> Reply:
        value = json.loads(content(reply))
        (value[0] if isinstance(value, list) else value)["note"] = request.headers["authorization"]
        return replace(reply, body=json.dumps(value).encode())

    world.lies = [on(where, repeat)]
    with pytest.raises(FetchError, match="repeats the token") as caught:
        world.fetch()
    assert "hf_abcdefgh" not in str(caught.value) + caught.value.hint
    assert not [p for p in world.home.rglob("*") if p.is_file() and b"hf_abc" in p.read_bytes()]


# --- the environment's CA ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_ca_that_is_not_there_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/nonexistent/ca.pem")
    with pytest.raises(UnreadableInput, match=name):
        world.fetch()


def test_a_key_without_its_certificate_is_a_mistake(pki: Path) -> None:
    with pytest.raises(UsageError, match="without its certificate"):
        Tls(pki / "ca.pem", key=pki / "client.key").verify()


def test_the_environments_ca_is_used(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tls_serving(pki, hello, wants_certificate=False) as url:
        with pytest.raises(FetchError, match="no trusted TLS"):
            ask(url, Tls())
        monkeypatch.setenv("SSL_CERT_FILE", str(pki / "ca.pem"))
        assert ask(url, Tls()) == b"hello"
