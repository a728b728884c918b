"""Keys, rates and files of keys."""

import hashlib

import pytest

from pratique.errors import UnreadableInput, UsageError
from pratique.serve.gateway.access import ANONYMOUS, Callers, Key, new_key, read_keys
from pratique.serve.gateway.errors import ApiError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def key(secret: str, **limits: int) -> Key:
    return Key(id=secret, sha256=hashlib.sha256(secret.encode()).hexdigest(), **limits)


def test_a_new_key_opens_and_its_file_does_not_hold_it(tmp_path):
    secret, lines = new_key("ann")
    path = tmp_path / "keys.toml"
    path.write_text(lines)
    assert secret not in lines
    callers = Callers(read_keys(path))
    assert callers.identify(f"Bearer {secret}") == "ann"
    assert callers.identify(f"bearer  {secret} ") == "ann"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic right", "right", "Bearer right\u00e9"]
)
def test_other_keys_do_not_open(header):
    with pytest.raises(ApiError) as caught:
        Callers((key("right"),)).identify(header)
    assert caught.value.status == 401
    assert "right" not in caught.value.message


def test_without_keys_everybody_is_nobody():
    callers = Callers(())
    assert callers.identify(None) == ANONYMOUS
    callers.spend_request(ANONYMOUS)
    callers.spend_tokens(ANONYMOUS, 10**9)


def test_requests_per_minute():
    clock = Clock()
    callers = Callers((key("ann", requests_per_minute=2), key("bob")), clock=clock)
    callers.spend_request("ann")
    callers.spend_request("ann")
    with pytest.raises(ApiError) as caught:
        callers.spend_request("ann")
    assert (caught.value.status, caught.value.retry_after) == (429, 30)
    callers.spend_request("bob")
    clock.now += 30
    callers.spend_request("ann")
    with pytest.raises(ApiError):
        callers.spend_request("ann")


def test_tokens_per_minute_may_go_into_debt_once():
    clock = Clock()
    callers = Callers((key("ann", tokens_per_minute=60),), clock=clock)
    callers.spend_request("ann")
    callers.spend_tokens("ann", 100)
    with pytest.raises(ApiError) as caught:
        callers.spend_request("ann")
    assert caught.value.retry_after == 41
    clock.now += 41
    callers.spend_request("ann")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key = 1",
        "[[key]]\nid = 'a'",
        "[[key]]\nid = 'a b'\nsha256 = '" + "0" * 64 + "'",
        "[[key]]\nid = 'a'\nsha256 = 'short'",
        "[[key]]\nid = 'a'\nsha256 = '" + "0" * 64 + "'\nrequests_per_minute = 0",
        "[[key]]\nid = 'a'\nsha256 = '" + "0" * 64 + "'\nunknown = 1",
        ("[[key]]\nid = 'a'\nsha256 = '" + "0" * 64 + "'\n") * 2,
        "not toml",
    ],
)
def test_files_that_are_not_keys_are_refused(tmp_path, text):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(UnreadableInput):
        read_keys(path)
    with pytest.raises(UnreadableInput):
        read_keys(tmp_path / "absent")


def test_an_id_has_a_form():
    with pytest.raises(UsageError):
        new_key('x"\n[[key]]')
