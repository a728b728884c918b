"""A streamed text is redacted joined."""

from pratique.redact import MAX_CHARS, StreamRedactor, redact

TEXT = "Hi, I'm John Smith, card 4111 1111 1111 1111, mail jane@example.com, password: hunter2!"


def test_cut_anywhere_it_is_the_whole_text():
    expected = redact(TEXT)
    for cut in range(len(TEXT) + 1):
        stream = StreamRedactor()
        stream.feed(TEXT[:cut])
        stream.feed(TEXT[cut:])
        assert stream.finish() == expected


def test_character_by_character():
    stream = StreamRedactor()
    for char in TEXT:
        stream.feed(char)
    assert stream.finish() == redact(TEXT)


def test_a_stream_beyond_the_limit_is_withheld():
    stream = StreamRedactor()
    for _ in range(MAX_CHARS // 1000 + 2):
        stream.feed("a" * 1000)
    assert stream.finish().withheld == "too long"
    stream.feed("x")
    assert stream.finish().text == "x"
