"""The bar appears with the first piece of work, and only where there is a terminal."""

import re

import pytest

from pratique.cli.context import Context
from pratique.cli.progress_bar import progress_bar
from pratique.core.progress import Quiet


def test_no_terminal_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(Context()) as bar:
        assert isinstance(bar, Quiet)
        bar.begin("hashing", 10)
        bar.advance(10)
    assert capsys.readouterr().err == ""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_bar_on_a_terminal(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(Context()) as bar:
        assert capsys.readouterr().err == "", "a password can still be asked for"
        for what in ("hashing", "copying"):
            bar.begin(what, 100)
            for _ in range(10):
                bar.advance(10)
    printed = capsys.readouterr()
    assert printed.out == ""
    text = plain(printed.err)
    assert "hashing" in text
    assert "0/100 bytes" in text
    assert "?" not in text


def test_work_of_unknown_size_shows_the_time_and_no_bytes(
    terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar(Context()) as bar:
        bar.begin("vetting", None)
        bar.advance(10)
    text = plain(capsys.readouterr().err)
    assert "vetting" in text
    assert "0:00:00" in text
    for wrong in ("bytes", "?", "-:--"):
        assert wrong not in text


def test_work_of_no_bytes_shows_nothing(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(Context()) as bar:
        bar.begin("indexes", 0)
        bar.advance(0)
        bar.begin("weights", 10)
    text = plain(capsys.readouterr().err)
    assert "indexes" not in text
    assert "weights" in text
