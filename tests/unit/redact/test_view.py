"""Views: what is decoded, and that every character knows where it came from."""

import pytest

from pratique.redact.skeleton import skeleton
from pratique.redact.spoken import spoken_view
from pratique.redact.view import decoded_view, raw_view


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("&#64;&commat;&#x40;", "@@@"),
        (r"a\u0040b\x40c", "a@b@c"),
        ("%40%E4%BD%A0", "@你"),
        ("%2540", "@"),
        (r"\\\"x\\\"", '"x"'),
        ("a\u200bb\u00adc", "abc"),
        ("４１１１", "4111"),
        ("٤١١١", "4111"),
        ("ﬁ①", "fi1"),
    ],
)
def test_decodes(text, plain):
    view = raw_view(text)
    assert (decoded_view(view) or view).text == plain


@pytest.mark.parametrize("text", ["100% sure", "a & b", r"C:\dir", "%zz", "&nosuchentity;", r"\d+"])
def test_leaves_what_only_looks_escaped(text):
    view = raw_view(text)
    assert (decoded_view(view) or view).text == text


def test_origin_covers_the_escape():
    text = "x j%40e y"
    view = decoded_view(raw_view(text))
    at = view.text.index("j@e")
    start, end = view.origin(at, at + 3)
    assert text[start:end] == "j%40e"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("john (at) example dot com", "john@example.com"),
        ("john dot doe at example dot com", "john.doe@example.com"),
        ("j o h n @ e x . c o m", "john@ex.com"),
        ("four one one one two two", "411122"),
        ("plus four nine one seven one two", "+491712"),
        ("jo<b>hn</b>@example.com", "john@example.com"),
        ("四一一一二二", "411122"),
    ],
)
def test_spoken(text, plain):
    assert spoken_view(raw_view(text)).text == plain


@pytest.mark.parametrize(
    "text", ["look at example.com", "meet at noon", "one two three", "a b c", "us @x"]
)
def test_plain_speech_is_not_rewritten(text):
    assert spoken_view(raw_view(text)) is None


@pytest.mark.parametrize("text", ["straße", "Müller", "Иван", "张伟", "a\nb", "“x”"])
def test_skeleton_has_one_byte_for_each_character(text):
    assert len(skeleton(text)) == len(text)
