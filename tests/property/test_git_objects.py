"""Git objects: our reader against dulwich's writer, and any bytes against our reader."""

import io
import string

import pytest
from dulwich.objects import Blob, Commit, Tree
from dulwich.pack import write_pack_objects
from hypothesis import given
from hypothesis import strategies as st

from pratique.core.candidate import EntryKind
from pratique.core.ids import Digest
from pratique.errors import FormatError
from pratique.flows.loopback_git import write_pack
from pratique.formats.git import (
    GitObjects,
    LfsPointer,
    object_id,
    parse_commit_object,
    parse_lfs_pointer,
    parse_tree,
)
from pratique.formats.git_pack import apply_delta, read_pack
from pratique.formats.sshsig import parse_ssh_signature

NAMES = st.text(string.ascii_letters + string.digits + "é日._-", min_size=1, max_size=20).filter(
    lambda n: n not in {".", ".."} and not n.lower().startswith((".git", "git~"))
)
MODES = st.sampled_from([0o100644, 0o100755, 0o120000, 0o040000, 0o160000])
KINDS = {
    0o100644: EntryKind.FILE,
    0o100755: EntryKind.FILE,
    0o120000: EntryKind.LINK,
    0o040000: EntryKind.FOLDER,
    0o160000: EntryKind.SUBMODULE,
}


@given(st.binary(max_size=5000))
def test_blob_ids_are_dulwichs(body: bytes) -> None:
    assert object_id("blob", body) == Blob.from_string(body).id.decode()


@given(st.dictionaries(NAMES, st.tuples(MODES, st.binary(min_size=20, max_size=20)), max_size=12))
def test_trees_that_dulwich_writes(entries: dict[str, tuple[int, bytes]]) -> None:
    tree = Tree()
    for name, (mode, sha) in entries.items():
        tree.add(name.encode(), mode, sha.hex().encode())
    body = tree.as_raw_string()
    parsed = parse_tree(body)
    assert object_id("tree", body) == tree.id.decode()
    assert {e.name: (e.kind, e.id) for e in parsed} == {
        name: (KINDS[mode], sha.hex()) for name, (mode, sha) in entries.items()
    }


@given(
    st.text(max_size=200).filter(lambda t: "\0" not in t and "\ud800" not in t),
    st.integers(0, 2**33),
    st.integers(-12, 12),
    st.lists(st.binary(min_size=20, max_size=20), max_size=3),
)
def test_commits_that_dulwich_writes(
    message: str, when: int, zone: int, parents: list[bytes]
) -> None:
    commit = Commit()
    commit.tree = b"1" * 40
    commit.parents = [p.hex().encode() for p in parents]
    commit.author = commit.committer = "Ann Ö <a@b.example>".encode()
    commit.author_time = commit.commit_time = when
    commit.author_timezone = commit.commit_timezone = zone * 3600
    commit.message = message.encode("utf-8", "surrogatepass")
    body = commit.as_raw_string()
    parsed = parse_commit_object(body)
    assert parsed.tree == "1" * 40
    assert [p.encode() for p in parsed.parents] == commit.parents
    assert (parsed.author.name, parsed.author.email) == ("Ann Ö", "a@b.example")
    assert parsed.committer.when == when
    assert parsed.message == message.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    assert parsed.signed == body


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=8), st.booleans())
def test_packs_that_dulwich_writes(bodies: list[bytes], similar: bool) -> None:
    """With and without deltas (dulwich writes offset deltas for similar objects)."""
    if similar:
        bodies = [bodies[0] * 5 + body for body in bodies]
    blobs = {Blob.from_string(body).id: Blob.from_string(body) for body in bodies}
    out = io.BytesIO()
    from dulwich.object_format import DEFAULT_OBJECT_FORMAT

    write_pack_objects(
        out.write,
        [(blob, None) for blob in blobs.values()],
        deltify=True,
        object_format=DEFAULT_OBJECT_FORMAT,
    )
    found = read_pack(out.getvalue(), max_inflated=1 << 24)
    assert {k.encode() for k in found.bodies} == set(blobs)
    assert {v[1] for v in found.bodies.values()} == {b.as_raw_string() for b in blobs.values()}


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_packs_that_we_write(bodies: list[bytes]) -> None:
    pack = write_pack(("blob", body) for body in bodies)
    assert read_pack(pack, max_inflated=1 << 20) == GitObjects.of(("blob", b) for b in bodies)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.data())
def test_a_pack_with_one_bit_changed_is_refused(bodies: list[bytes], data: st.DataObject) -> None:
    pack = bytearray(write_pack(("blob", body) for body in bodies))
    bit = data.draw(st.integers(0, len(pack) * 8 - 1))
    pack[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError):
        read_pack(bytes(pack), max_inflated=1 << 20)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.data())
def test_a_pack_cut_short_is_refused(bodies: list[bytes], data: st.DataObject) -> None:
    pack = write_pack(("blob", body) for body in bodies)
    cut = data.draw(st.integers(0, len(pack) - 1))
    with pytest.raises(FormatError):
        read_pack(pack[:cut], max_inflated=1 << 20)


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for parse in (parse_commit_object, parse_tree, parse_lfs_pointer, parse_ssh_signature):
        try:
            parse(body)
        except FormatError:
            continue


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_delta_is_applied_or_refused(source: bytes, delta: bytes) -> None:
    try:
        made = apply_delta(source, delta)
    except FormatError:
        return
    assert isinstance(made, bytes)


@given(st.binary(max_size=300))
def test_a_tree_that_parses_is_rewritten_the_same(body: bytes) -> None:
    """No two spellings of one tree: what is accepted is canonical."""
    try:
        entries = parse_tree(body)
    except FormatError:
        return
    tree = Tree()
    modes = {kind: mode for mode, kind in KINDS.items()}
    for e in entries:
        mode = (
            0o100755
            if e.executable
            else modes[e.kind]
            if e.kind is not EntryKind.FILE
            else 0o100644
        )
        tree.add(e.name.encode(), mode, e.id.encode())
    assert tree.as_raw_string() == body


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**50))
def test_canonical_pointers_round_trip(digest: bytes, size: int) -> None:
    pointer = LfsPointer(Digest(digest.hex()), size)
    assert parse_lfs_pointer(pointer.canonical) == pointer
    assert pointer.blob_id == object_id("blob", pointer.canonical)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**50), st.data())
def test_a_pointer_with_a_byte_removed_is_no_other_file(
    digest: bytes, size: int, data: st.DataObject
) -> None:
    pointer = LfsPointer(Digest(digest.hex()), size)
    at = data.draw(st.integers(0, len(pointer.canonical) - 1))
    body = pointer.canonical[:at] + pointer.canonical[at + 1 :]
    try:
        parsed = parse_lfs_pointer(body)
    except FormatError:
        return
    assert parsed == pointer or body.rpartition(b"size ")[2].strip() == str(parsed.size).encode()
