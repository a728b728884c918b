"""ledger.toml: strict, optional, and obeyed."""

import pytest

from pratique.errors import FormatError, UnreadableInput
from pratique.ledger.folder import Folder
from pratique.ledger.home import Configuration, configuration, open_ledger
from tests.support.ledgers import request


def write(home, text):
    home.mkdir(exist_ok=True)
    (home / "ledger.toml").write_text(text, encoding="utf-8")


def test_without_a_file_the_defaults_hold(tmp_path):
    assert configuration(tmp_path) == Configuration()
    assert Configuration().copies() == []


def test_copies_are_made_where_it_says(tmp_path):
    home, witness, posted = tmp_path / "home", tmp_path / "witness", tmp_path / "posted"
    write(
        home,
        f"checkpoint_events = 2\ncopy_directories = ['{witness}']\n"
        f"copy_commands = [['sh', '-c', 'cat > {posted}']]\n",
    )
    with open_ledger(home) as log:
        for number in range(4):
            log.append(request(number))
    folder = Folder(home / "ledger")
    assert sorted(int(p.name) for p in witness.iterdir()) == folder.checkpoint_sizes() == [0, 2, 4]
    assert posted.read_bytes() == folder.note(4)


@pytest.mark.parametrize(
    "text",
    [
        "copy_directory = ['/mnt']",
        "copy_directories = '/mnt'",
        "copy_directories = ['']",
        "copy_commands = ['mail']",
        "copy_commands = [[]]",
        "checkpoint_events = 0",
        "checkpoint_events = '5'",
        "checkpoint_events = true",
        "checkpoint_seconds = nan",
        "segment_mib = 1.5",
        "x",
        "a = 1\na = 2",
        "#" * 70_000,
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, text):
    write(tmp_path, text)
    with pytest.raises(FormatError, match=r"ledger\.toml"):
        open_ledger(tmp_path)
    assert not (tmp_path / "ledger").exists()


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "ledger.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError):
        open_ledger(tmp_path)
    (tmp_path / "ledger.toml").unlink()
    (tmp_path / "ledger.toml").mkdir()
    with pytest.raises(UnreadableInput):
        open_ledger(tmp_path)


def test_the_example_in_the_docs_is_accepted(tmp_path):
    from tests.conftest import ROOT

    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    write(tmp_path, page.split("```toml\n")[1].split("```")[0])
    assert len(configuration(tmp_path).copies()) == 2
