"""The bar appears with the first piece of work, and only where there is a terminal."""

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


def test_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(Context()) as bar:
        assert capsys.readouterr().err == "", "a password can still be asked for"
        for what in ("hashing", "copying", "nothing at all"):
            bar.begin(what, 0 if what.startswith("nothing") else 100)
            for _ in range(10):
                bar.advance(10)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nothing at all" in printed.err
