import pytest

from pratique.core.ids import CommitSha, RepoId
from pratique.errors import FetchError, UsageError
from pratique.fetch.errors import safe_url
from pratique.fetch.urls import OFFICIAL, Endpoint, Origin, origin_of

REPO, COMMIT = RepoId("org/name"), CommitSha("1" * 40)


@pytest.mark.parametrize(
    "text",
    [
        "", "huggingface.co", "ftp://x", "https://", "https://user:pw@x", "https://x?a=1",
        "https://x#f", "https://x:99999", "https://[::1", "file:///etc",
    ],
)  # fmt: skip
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(UsageError):
        Endpoint.parse(text)


def test_an_endpoint_may_have_a_prefix() -> None:
    endpoint = Endpoint.parse("https://mirror.example/hf/")
    assert endpoint.api(REPO, "revision", "a/b?c") == (
        "https://mirror.example/hf/api/models/org/name/revision/a%2Fb%3Fc"
    )
    assert endpoint.resolve(REPO, COMMIT, "a b/ü#?.json").endswith("/a%20b/%C3%BC%23%3F.json")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/x", Origin("https", "a.example", 443)),
        ("http://a:8080", Origin("http", "a", 8080)),
        ("https://a@b/", None),
        ("/x", None),
        ("javascript:1", None),
    ],
)
def test_origins(url: str, origin: Origin | None) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("base", "may"),
    [
        ("https://x.example", True), ("http://127.0.0.1:1", True), ("http://localhost", True),
        ("http://[::1]:1", True), ("http://x.example", False), ("http://10.0.0.1", False),
    ],
)  # fmt: skip
def test_where_a_token_may_travel(base: str, may: bool) -> None:
    assert Endpoint.parse(base).token_may_travel is may


GOOD = [
    (OFFICIAL, "https://cas-bridge.xethub.hf.co/x?sig=1", ()),
    (OFFICIAL, "https://cdn-lfs.hf.co/repos/x", ()),
    (OFFICIAL, f"/api/resolve-cache/models/org/name/{COMMIT}/config.json?etag=x", ()),
    ("https://mirror.example", f"/org/name/resolve/{COMMIT}/x", ()),
    ("https://mirror.example", "https://s3.example/x", ("s3.example",)),
    ("https://mirror.example/hf", f"/hf/org/name/resolve/{COMMIT}/x", ()),
]
BAD = [
    (OFFICIAL, "http://cdn-lfs.hf.co/x", ()),
    (OFFICIAL, "https://evilhf.co/x", ()),
    (OFFICIAL, "https://hf.co.evil.example/x", ()),
    (OFFICIAL, "https://huggingface.co/org/other/resolve/main/x", ()),
    (OFFICIAL, "https://huggingface.co:444/org/name", ()),
    (OFFICIAL, "https://localhost/x", ()),
    (OFFICIAL, "https://user@cdn-lfs.hf.co/x", ()),
    ("https://mirror.example", "https://cdn-lfs.hf.co/x", ()),
    ("https://mirror.example", "https://s3.example.evil/x", ("s3.example",)),
    ("https://mirror.example", f"/org/name/resolve/{'2' * 40}/x", ()),
    ("https://mirror.example/hf", f"/org/name/resolve/{COMMIT}/x", ()),
    ("https://mirror.example", f"/org/name/resolve/{COMMIT}/../../../../x", ()),
]


@pytest.mark.parametrize(("base", "location", "hosts"), GOOD)
def test_expected_redirects(base: str, location: str, hosts: tuple[str, ...]) -> None:
    endpoint = Endpoint.parse(base, redirect_hosts=hosts)
    assert endpoint.content_redirect(endpoint.resolve(REPO, COMMIT, "x"), location, REPO, COMMIT)


@pytest.mark.parametrize(("base", "location", "hosts"), BAD)
def test_unexpected_redirects(base: str, location: str, hosts: tuple[str, ...]) -> None:
    endpoint = Endpoint.parse(base, redirect_hosts=hosts)
    with pytest.raises(FetchError, match="nobody expects"):
        endpoint.content_redirect(endpoint.resolve(REPO, COMMIT, "x"), location, REPO, COMMIT)


def test_urls_in_messages_hold_no_secret() -> None:
    assert safe_url("https://u:pw@h:1/p?token=x#y") == "https://h:1/p"
    assert "\x1b" not in safe_url("https://h/\x1b[0m")
    assert safe_url("http://[::1") == "a malformed URL"
