"""Tokens: keyed, stable over spellings, rotating, and never telling a key."""

import base64

import pytest

from pratique.errors import UsageError
from pratique.redact import EntityType, KeyRing, Redactor

ONE, TWO = b"1" * 32, b"2" * 32


def test_the_same_value_has_the_same_token_however_it_is_written():
    redactor = Redactor(keys=KeyRing({"k1": ONE}, "k1"))
    texts = ["jane@example.com", "JANE@example.com", "jane%40example.com", "jane&#64;example.com"]
    assert len({redactor.redact(t).text for t in texts}) == 1
    assert redactor.redact("joan@example.com").text != redactor.redact(texts[0]).text
    assert redactor.redact(texts[0]).text.startswith("[EMAIL:k1:")


def test_separators_in_numbers_do_not_matter():
    ring = KeyRing({"k1": ONE}, "k1")
    assert ring.token(EntityType.CARD, "4111 1111 1111 1111") == ring.token(
        EntityType.CARD, "4111-1111-1111-1111"
    )


def test_types_and_keys_part_tokens():
    ring = KeyRing({"k1": ONE, "k2": TWO}, "k2")
    new, old = (
        ring.token(EntityType.IP, "10.0.0.1"),
        ring.token(EntityType.IP, "10.0.0.1", key_id="k1"),
    )
    assert new.startswith("[IP:k2:")
    assert old.startswith("[IP:k1:")
    assert new[7:] != old[7:]
    assert ring.token(EntityType.PHONE, "10.0.0.1")[9:] != new[6:]


def test_parse_takes_the_last_as_current():
    text = f"# keys\nk1 {base64.b64encode(ONE).decode()}\nk2 {base64.b64encode(TWO).decode()}\n"
    assert KeyRing.parse(text).current == "k2"


@pytest.mark.parametrize(
    "text", ["", "k1", "k1 %%%", "x1 " + base64.b64encode(ONE).decode(), "k1 c2hvcnQ="]
)
def test_parse_refuses_and_repeats_nothing(text):
    with pytest.raises(UsageError) as caught:
        KeyRing.parse(text)
    assert "c2hvcnQ" not in caught.value.message
    assert caught.value.hint


def test_a_key_id_twice_is_refused():
    line = f"k1 {base64.b64encode(ONE).decode()}\n"
    with pytest.raises(UsageError):
        KeyRing.parse(line + line)


def test_repr_tells_no_key():
    assert "1111" not in repr(KeyRing({"k1": ONE}, "k1"))


def test_an_unknown_key_is_refused():
    with pytest.raises(UsageError):
        KeyRing({"k1": ONE}, "k1").token(EntityType.IP, "10.0.0.1", key_id="k9")


def test_redacting_keyed_tokens_again_changes_nothing():
    redactor = Redactor(keys=KeyRing({"k1": ONE}, "k1"))
    once = redactor.redact("password: hunter2 from 10.0.0.1").text
    assert redactor.redact(once).text == once
