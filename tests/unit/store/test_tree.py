"""Foreign directories: what is listed, what is refused, and that no link is ever followed."""

import os
import socket
from pathlib import Path

import pytest

from pratique.core.ids import RelPath
from pratique.errors import FormatError, StorageError, UnreadableInput
from pratique.store import tree


def test_lists_files_and_folders_in_byte_order(tmp_path: Path) -> None:
    for name in ("b/z", "a", "b.c", "B"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "B").unlink()
    found = tree.walk(tmp_path)
    assert found.files == ("a", "b.c", "b/z")
    assert found.folders == ("b",)


def test_empty_directory(tmp_path: Path) -> None:
    assert tree.walk(tmp_path) == tree.Listing((), ())


@pytest.mark.parametrize(
    "name", ["a\u200bb", "aux.txt", "x.", " x", "a\nb", "a\u202eb", "nul", "a:b"]
)
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(FormatError):
        tree.walk(tmp_path)


def test_links_are_refused_even_to_siblings(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(FormatError, match="'b' is a link"):
        tree.walk(tmp_path)


def test_special_files_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(FormatError, match="special file"):
            tree.walk(tmp_path)


def test_colliding_folder_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Sub").mkdir()
    (tmp_path / "sub").touch()
    with pytest.raises(FormatError, match="differ only by case"):
        tree.walk(tmp_path)


def test_root_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises((FormatError, UnreadableInput)):
        tree.walk(tmp_path / "link")


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="No such file"):
        tree.walk(tmp_path / "absent")


def test_opens_what_was_listed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"content")
    with tree.opened_folder(tmp_path) as root, tree.opened(root, RelPath("a/b/c")) as descriptor:
        assert os.read(descriptor, 100) == b"content"
        assert tree.size_of(root, RelPath("a/b/c")) == 7


def test_folder_swapped_for_a_link_after_listing_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/a/secret").write_bytes(b"harmless")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_bytes(b"secret")
    found = tree.walk(tmp_path / "root")
    (tmp_path / "root/a").rename(tmp_path / "moved")
    (tmp_path / "root/a").symlink_to(tmp_path / "elsewhere")
    with (
        tree.opened_folder(tmp_path / "root") as root,
        pytest.raises((FormatError, UnreadableInput)),
        tree.opened(root, found.files[0]),
    ):
        pytest.fail("the link was followed")


def test_file_swapped_for_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/etc/hostname")
    with (
        tree.opened_folder(tmp_path) as root,
        pytest.raises(FormatError, match="link"),
        tree.opened(root, RelPath("a")),
    ):
        pytest.fail("the link was followed")


def test_file_swapped_for_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with (
        tree.opened_folder(tmp_path) as root,
        pytest.raises(FormatError, match="regular"),
        tree.opened(root, RelPath("a")),
    ):
        pytest.fail("a FIFO was opened")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with tree.opened_folder(tmp_path) as root:
        for path in ("a/b/c", "a/b/absent", "a/absent/c"):
            try:
                with tree.opened(root, RelPath(path)):
                    pass
            except (UnreadableInput, StorageError):
                continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before
