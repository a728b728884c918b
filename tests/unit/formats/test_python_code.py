"""Source that reads as one thing and runs as another is no source."""

import pytest

from pratique.errors import FormatError
from pratique.formats import python_code

HIDDEN = b"# harmless +AAo-import os+AAo-"


@pytest.mark.parametrize(
    "source",
    [
        b"# -*- coding: utf-7 -*-\n" + HIDDEN,
        b"\n# vim: set fileencoding=utf_7 :\n" + HIDDEN,
        b"\x0c# coding: UTF-7\n" + HIDDEN,
        b"\r# coding: utf-7\r" + HIDDEN,
        b"#\r# coding: utf-7\r\n" + HIDDEN,
        b"# coding: unicode_escape\n# \\nimport os\n",
    ],
)
def test_code_in_what_reads_as_a_comment_is_refused(source: bytes) -> None:
    assert "os" in compile(source, "x", "exec").co_names  # the interpreter runs it
    with pytest.raises(FormatError, match="other code than it runs"):
        python_code.parse(source)


@pytest.mark.parametrize(
    "source",
    [
        b"# coding: latin-1\nx = '\xc3\xa9'\n",
        b"# coding: nonsense\n",
        b"\xef\xbb\xbf# coding: latin-1\n",
    ],
)
def test_other_encodings_are_refused(source: bytes) -> None:
    with pytest.raises(FormatError):
        python_code.parse(source)


@pytest.mark.parametrize(
    "source",
    [
        b"# -*- coding: utf-8 -*-\nx = '\xc3\xa9'\n",
        b"# vim: set fileencoding=utf8 :\r\n",
        b"# coding: latin-1\nx = 1\n",
        b"# coding: us-ascii\nx = 1\n",
        b"\xef\xbb\xbfx = 1\n",
        b"x = 1\n# coding: utf-7\n",
        b"",
    ],
)
def test_declarations_that_change_nothing_are_read(source: bytes) -> None:
    python_code.parse(source)
