"""Bytes get into the store only under their own digest, and are looked at again before use."""

import copy
import hashlib
import pickle
from pathlib import Path

import pytest

from pratique.core.bundle import SealedFile
from pratique.core.ids import BundleId, Digest, RelPath
from pratique.core.proof import mint
from pratique.errors import StorageError, UnreadableInput, VerificationRefused
from pratique.store import content as contents
from pratique.store.cas import Store, make_store, open_store
from pratique.store.content import StoredContent, recheck_content, store_bytes, store_content
from pratique.store.measure import Wanted, measure_bytes

FILES = {"model/config.json": b"{}\n", "model/a/weights": b"w" * 5000, "empty": b""}
ID = BundleId("ab" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "home")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "payload" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "payload"


def digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


EXPECTED = {RelPath(name): digest(data) for name, data in FILES.items()}
SEALED = tuple(
    SealedFile(path=m.path, size=m.size, sha256=m.sha256, chunks=m.chunks)
    for m in (measure_bytes(RelPath(n), d, Wanted.BOTH) for n, d in FILES.items())
)


def take(store: Store, payload: Path, present: str | None = None) -> StoredContent:
    with store.shared():
        return store_content(store, payload, EXPECTED, ID, wanted=Wanted.BOTH, present=present)


def recheck(store: Store, name: str, wanted: Wanted = Wanted.BOTH) -> StoredContent:
    return recheck_content(store, name, SEALED, {}, ID, wanted=wanted)


def thaw(path: Path) -> None:
    """Make a stored file writable, as its owner could."""
    path.chmod(0o644)


def test_stored_tree_is_the_payload(store: Store, payload: Path) -> None:
    stored = take(store, payload)
    for name, data in FILES.items():
        path = stored.root / name
        assert path.read_bytes() == data
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o444
        assert path.stat().st_ino == store.object(digest(data)).stat().st_ino
    assert stored.root.stat().st_mode & 0o777 == 0o555
    assert {m.path: m.sha256 for m in stored.files} == EXPECTED


def test_same_bytes_are_kept_once(store: Store, payload: Path) -> None:
    one, two = take(store, payload), take(store, payload)
    assert one.name != two.name
    weights = RelPath("model/a/weights")
    assert (one.root / weights).stat().st_ino == (two.root / weights).stat().st_ino


def test_earlier_tree_is_used_again(store: Store, payload: Path) -> None:
    one = take(store, payload)
    assert take(store, payload, present=one.name).name == one.name


def test_earlier_tree_with_another_file_is_not_used(store: Store, payload: Path) -> None:
    one = take(store, payload)
    one.root.chmod(0o755)
    (one.root / "added").touch()
    assert take(store, payload, present=one.name).name != one.name


def test_other_bytes_are_refused_and_not_kept(store: Store, payload: Path) -> None:
    (payload / "model/config.json").write_bytes(b"{ }")
    with pytest.raises(VerificationRefused, match=r"model/config\.json"):
        take(store, payload)
    assert not store.object(digest(b"{ }")).exists()
    assert list((store.root / "trees").iterdir()) == []
    assert list((store.root / "tmp").iterdir()) == []


def test_other_bytes_are_refused_where_the_right_ones_are_here_already(
    store: Store, payload: Path
) -> None:
    take(store, payload)
    (payload / "model/config.json").write_bytes(b"[]\n")
    with pytest.raises(VerificationRefused, match=r"model/config\.json"):
        take(store, payload)


def test_missing_file(store: Store, payload: Path) -> None:
    (payload / "empty").unlink()
    with pytest.raises(UnreadableInput, match="empty"):
        take(store, payload)


def test_damaged_object_is_replaced_not_trusted(store: Store, payload: Path) -> None:
    stored = take(store, payload)
    place = store.object(digest(b"{}\n"))
    thaw(place)
    place.write_bytes(b"{!\n")
    again = take(store, payload, present=stored.name)
    assert again.name != stored.name
    assert (again.root / "model/config.json").read_bytes() == b"{}\n"


def test_file_with_all_the_links_it_can_have_is_copied(
    store: Store, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*_: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(contents.os, "link", too_many)
    stored = take(store, payload)
    assert (stored.root / "model/a/weights").read_bytes() == FILES["model/a/weights"]
    recheck(store, stored.name)


@pytest.mark.parametrize("wanted", list(Wanted))
def test_recheck_accepts_what_was_stored(store: Store, payload: Path, wanted: Wanted) -> None:
    stored = take(store, payload)
    again = recheck(store, stored.name, wanted)
    assert again.root == stored.root
    assert {m.path for m in again.files} == set(EXPECTED)


@pytest.mark.parametrize("wanted", list(Wanted))
@pytest.mark.parametrize("change", ["flip", "grow", "shrink"])
def test_recheck_names_what_changed(
    store: Store, payload: Path, wanted: Wanted, change: str
) -> None:
    stored = take(store, payload)
    path = stored.root / "model/a/weights"
    data = bytearray(path.read_bytes())
    thaw(path)
    if change == "flip":
        data[2500] ^= 1
    path.write_bytes({"flip": data, "grow": data + b"x", "shrink": data[:-1]}[change])
    path.chmod(0o444)
    with pytest.raises(VerificationRefused, match="weights"):
        recheck(store, stored.name, wanted)


def test_recheck_refuses_extra_missing_and_writable(store: Store, payload: Path) -> None:
    stored = take(store, payload)
    path = stored.root / "empty"
    thaw(path)
    with pytest.raises(VerificationRefused, match="writable"):
        recheck(store, stored.name)
    path.chmod(0o444)
    stored.root.chmod(0o755)
    (stored.root / "added").touch()
    with pytest.raises(VerificationRefused, match="added"):
        recheck(store, stored.name)
    (stored.root / "added").unlink()
    path.unlink()
    with pytest.raises(VerificationRefused, match="'empty' is missing"):
        recheck(store, stored.name)


def test_chunks_of_a_large_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk is compared with its own digest, at its own place."""
    from pratique.core import bundle
    from pratique.store import measure

    for module in (bundle, measure, contents):
        monkeypatch.setattr(module, "CHUNK_BYTES", 1024)
    data = b"".join(bytes([n]) * 1000 for n in range(10))
    (tmp_path / "payload").mkdir()
    (tmp_path / "payload/big").write_bytes(data)
    found = measure_bytes(RelPath("big"), data, Wanted.BOTH)
    assert len(found.chunks) == 10
    with store.shared():
        stored = store_content(
            store, tmp_path / "payload", {found.path: found.sha256}, ID, wanted=Wanted.BOTH
        )
    good = SealedFile(path=found.path, size=found.size, sha256=found.sha256, chunks=found.chunks)
    recheck_content(store, stored.name, [good], {}, ID, wanted=Wanted.BOTH)
    swapped = (found.chunks[1], found.chunks[0], *found.chunks[2:])
    bad = good.model_copy(update={"chunks": swapped})
    with pytest.raises(VerificationRefused, match="big"):
        recheck_content(store, stored.name, [bad], {}, ID, wanted=Wanted.BOTH)


def test_bytes_are_kept_under_their_digest(store: Store) -> None:
    found = store_bytes(store, b"signature")
    assert store.object(found).read_bytes() == b"signature"
    assert store_bytes(store, b"signature") == found


def test_content_is_made_by_its_verifier_alone(store: Store, payload: Path) -> None:
    stored = take(store, payload)
    with pytest.raises(TypeError):
        StoredContent()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="made by its verifier"):
        StoredContent(stored)  # type: ignore[arg-type]
    for leave in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            leave(stored)
    with pytest.raises(AttributeError):
        stored.root = Path("/")
    with pytest.raises(AttributeError):
        del stored.root
    with pytest.raises(TypeError, match="subclassed"):
        type("Forged", (StoredContent,), {"__slots__": ()})
    with pytest.raises(TypeError, match="has the fields"):
        mint(StoredContent, name="half")


# --- the store itself ---------------------------------------------------------------------------------


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no store"):
        open_store(tmp_path)


def test_unknown_layout(store: Store) -> None:
    (store.root / "format").write_bytes(b"pratique.store/v9\n")
    with pytest.raises(StorageError, match="layout"):
        open_store(store.root.parent)


@pytest.mark.parametrize("folder", ["", "objects", "trees", "admissions", "names"])
def test_store_that_others_may_write_is_refused(store: Store, folder: str) -> None:
    path = store.root / folder
    path.chmod(0o777)
    with pytest.raises(StorageError, match="may be written by others"):
        open_store(store.root.parent)
    path.chmod(0o700)
    open_store(store.root.parent)


def test_store_of_another_user_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.root.stat().st_uid
    from pratique.store import cas

    monkeypatch.setattr(cas.os, "geteuid", lambda: real + 4711)
    if real == 0:
        open_store(store.root.parent)  # root's is accepted everywhere
    else:
        with pytest.raises(StorageError, match="belongs to user"):
            open_store(store.root.parent)


def test_linked_folder_is_refused(store: Store, tmp_path: Path) -> None:
    moved = tmp_path / "objects-elsewhere"
    (store.root / "objects").rename(moved)
    (store.root / "objects").symlink_to(moved)
    with pytest.raises(StorageError, match="link"):
        open_store(store.root.parent)


def test_scratch_of_the_living_is_left_alone(store: Store) -> None:
    with store.scratch() as mine:
        assert store.sweep() == 0
        assert mine.is_dir()
    assert not mine.exists()


def test_scratch_of_the_dead_is_removed(store: Store) -> None:
    dead = store.root / "tmp/dead"
    dead.mkdir()
    (dead / "half").write_bytes(b"half")
    with store.scratch():
        assert not dead.exists()
