"""Texts of 100 KB made to cost time or to slip through; none may be withheld for time."""

import base64

import pytest

from pratique.redact import redact

SIZE = 100_000
HOSTILE = {
    "one letter": "a",
    "digits": "1",
    "single digits that start a card": "4 ",
    "groups that start a card": "4111 ",
    "at signs": "a@",
    "phones that the plans must be asked about": "0171 2345678, ",
    "password keywords in one token": "password=",
    "password in prose": "password is ",
    "unclosed quotes": 'password="',
    "url parameters": "http://x/?token=",
    "schemes": "http://a:b@",
    "titles": "Mr Mr ",
    "names": "John Smith ",
    "introductions without a space": "我叫",
    "birth keywords": "dob 1/",
    "double escapes": "%25",
    "entities": "&amp;",
    "backslashes": "\\",
    "zero width": "a\u200b",
    "open key blocks": "-----BEGIN PRIVATE KEY-----\n",
    "base58": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa ",
    "streets": "12 Main Street, ",
    "spaced letters": "j o h n ",
    "number words": "one two ",
    "readable base64": "am9obkB4LmNvbSA= ",
    "address labels": "address: 1 A ",
    "towns": "12345 A, ",
    "labels without a space": "患者",
    "table headings": "name,dob\n1,",
    "session ids": "sid=abc123;",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_read_to_the_end(unit):
    assert redact(unit * (SIZE // len(unit))).withheld == ""


def test_nested_base64_beyond_the_depth_stays_encoded_and_cheap():
    text = "jane@example.com " * 200
    for _ in range(6):
        text = base64.b64encode(text.encode()).decode()
    assert redact(text).withheld == ""


@pytest.mark.parametrize(
    "text",
    [
        "jane@exam\u00adple.com",
        "jane\u2060@example.com",
        "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "jane&amp;#64;example.com",
        "jane%252540example.com",
        "jane\\\\u0040example.com",
        "amFuZUBleGFtcGxlLmNvbQ",
        "6a616e65406578616d706c652e636f6d",
    ],
)
def test_hidden_addresses_are_found(text):
    assert redact(text).text == "[EMAIL]"
