import hashlib
import struct
import zlib

import pytest

from pratique.core.candidate import EntryKind
from pratique.core.ids import CommitSha, Digest
from pratique.errors import FormatError
from pratique.flows.loopback_git import write_pack
from pratique.formats.git import (
    MAX_TREE_DEPTH,
    GitObjects,
    LfsPointer,
    is_git_material,
    object_id,
    parse_commit_object,
    parse_lfs_pointer,
    parse_tree,
    walk_commit,
)
from pratique.formats.git_pack import apply_delta, read_pack

ID = "1" * 40
COMMIT = (
    b"tree " + ID.encode() + b"\nauthor A <a@b> 1 +0000\ncommitter C <c@d> 2 -0130\n\nmessage\n"
)


def entry(mode: bytes, name: bytes, sha: bytes = b"\x11" * 20) -> bytes:
    return mode + b" " + name + b"\0" + sha


# --- ids -----------------------------------------------------------------------------------------


def test_known_ids() -> None:
    """`git hash-object` of nothing, of "hello\\n", and the empty tree."""
    assert object_id("blob", b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert object_id("blob", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert object_id("tree", b"") == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


# --- commits -------------------------------------------------------------------------------------


def test_a_commit() -> None:
    parsed = parse_commit_object(COMMIT)
    assert (parsed.tree, parsed.parents, parsed.signature) == (ID, (), None)
    assert (parsed.author.name, parsed.author.when) == ("A", 1)
    assert (parsed.committer.email, parsed.committer.zone) == ("c@d", "-0130")
    assert parsed.message == "message\n"
    assert parsed.signed == COMMIT


def test_a_signature_is_taken_out_of_what_it_covers() -> None:
    head, blank, message = COMMIT.partition(b"\n\n")
    signed = head + b"\ngpgsig -----BEGIN X-----\n abc\n -----END X-----" + blank + message
    parsed = parse_commit_object(signed)
    assert parsed.signature == b"-----BEGIN X-----\nabc\n-----END X-----"
    assert parsed.signed == COMMIT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        COMMIT.replace(b"\n\n", b"\n"),
        COMMIT.replace(b"tree ", b"tre "),
        COMMIT.replace(ID.encode(), b"G" * 40),
        COMMIT.replace(ID.encode(), ID.encode()[:-1]),
        COMMIT.replace(b"author A <a@b> 1 +0000\n", b""),
        COMMIT.replace(b"author A <a@b> 1 +0000\n", b"author A <a@b> 1 +0000\n" * 2),
        COMMIT.replace(b"author A <a@b> 1 +0000", b"author A a@b 1 +0000"),
        COMMIT.replace(b"author A <a@b> 1 +0000", b"author A <a@b> -1 +0000"),
        COMMIT.replace(b"author A <a@b> 1 +0000", b"author A <a@b> 1 +00:0"),
        COMMIT.replace(b"\n\n", b"\ngpgsig a\ngpgsig b\n\n"),
        COMMIT.replace(b"\n\n", b"\nbad\0header x\n\n"),
        COMMIT.replace(b"\n\n", b"\n: x\n\n"),
        b"tree " + ID.encode() + b"\n" + COMMIT,
        COMMIT.replace(b"author", b"parent " + ID.encode() + b"\nauthor").replace(
            b"committer", b"parent " + ID.encode() + b"\ncommitter"
        ),
        COMMIT + b"x" * (1 << 20),
    ],
)
def test_malformed_commits(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_commit_object(body)


# --- trees ---------------------------------------------------------------------------------------


def test_a_tree_of_every_kind() -> None:
    body = b"".join(
        entry(mode, name)
        for mode, name in (
            (b"100644", b"a"), (b"100755", b"b"), (b"40000", b"c"), (b"120000", b"d"),
            (b"160000", b"e"),
        )
    )  # fmt: skip
    assert [(e.kind, e.executable) for e in parse_tree(body)] == [
        (EntryKind.FILE, False),
        (EntryKind.FILE, True),
        (EntryKind.FOLDER, False),
        (EntryKind.LINK, False),
        (EntryKind.SUBMODULE, False),
    ]


def test_folders_sort_as_with_a_slash() -> None:
    """`a.b` < `a/` < `a0`, as git sorts."""
    body = entry(b"100644", b"a.b") + entry(b"40000", b"a") + entry(b"100644", b"a0")
    assert [e.name for e in parse_tree(body)] == ["a.b", "a", "a0"]


@pytest.mark.parametrize(
    "body",
    [
        entry(b"100664", b"a"),
        entry(b"040000", b"a"),
        entry(b"0", b"a"),
        entry(b"100644", b""),
        entry(b"100644", b"."),
        entry(b"100644", b".."),
        entry(b"100644", b"a/b"),
        entry(b"100644", b"\xff"),
        entry(b"40000", b".git"),
        entry(b"40000", b".GIT"),
        entry(b"40000", b"git~1"),
        entry(b"40000", b".git. "),
        entry(b"100644", b"b") + entry(b"100644", b"a"),
        entry(b"100644", b"a") + entry(b"100644", b"a"),
        entry(b"100644", b"a") + entry(b"40000", b"a"),
        entry(b"100644", b"a")[:-1],
        b"100644 a",
        b"x",
    ],
)
def test_malformed_trees(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_tree(body)


def test_gitattributes_is_no_git_directory() -> None:
    """Look-alike: `.gitattributes` begins with `.git` and is ordinary."""
    assert parse_tree(entry(b"100644", b".gitattributes"))[0].name == ".gitattributes"


def chain(depth: int) -> tuple[GitObjects, CommitSha]:
    objects = [("blob", b"x")]
    body = entry(b"100644", b"f", bytes.fromhex(object_id("blob", b"x")))
    for _ in range(depth):
        objects.append(("tree", body))
        body = entry(b"40000", b"d", bytes.fromhex(object_id("tree", body)))
    objects.append(("tree", body))
    commit = COMMIT.replace(ID.encode(), object_id("tree", body).encode())
    objects.append(("commit", commit))
    return GitObjects.of(objects), CommitSha(object_id("commit", commit))


def test_walking_a_commit() -> None:
    _, paths = walk_commit(*chain(3))
    assert [p.path for p in paths] == ["d/d/d/f"]


def test_a_tree_too_deep_is_refused() -> None:
    with pytest.raises(FormatError, match="deeper"):
        walk_commit(*chain(MAX_TREE_DEPTH + 1))


def test_a_tree_that_explodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees that share subtrees: 20 objects that list 10^20 paths."""
    monkeypatch.setattr("pratique.formats.git.MAX_TREE_ENTRIES", 1000)
    objects = []
    body = entry(b"100644", b"f")
    for _ in range(20):
        objects.append(("tree", body))
        sha = bytes.fromhex(object_id("tree", body))
        body = b"".join(entry(b"40000", b"%d" % i, sha) for i in range(10))
    objects.append(("tree", body))
    commit = COMMIT.replace(ID.encode(), object_id("tree", body).encode())
    objects.append(("commit", commit))
    with pytest.raises(FormatError, match=r"too big|more than"):
        walk_commit(GitObjects.of(objects), CommitSha(object_id("commit", commit)))


def test_a_missing_tree_is_said() -> None:
    objects, commit = chain(2)
    bodies = {k: v for k, v in objects.bodies.items() if v[0] != "tree"}
    with pytest.raises(FormatError, match="not among the objects"):
        walk_commit(GitObjects(bodies), commit)


def test_a_tree_id_that_is_a_blob() -> None:
    commit = COMMIT.replace(ID.encode(), object_id("blob", b"x").encode())
    objects = GitObjects.of([("blob", b"x"), ("commit", commit)])
    with pytest.raises(FormatError, match="is a blob, not a tree"):
        walk_commit(objects, CommitSha(object_id("commit", commit)))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".gitattributes", True), (".github/workflows/x.yml", True), ("a/.gitignore", True),
        (".GitKeep", True), ("model.git.bin", False), ("git/x", False), ("config.json", False),
    ],
)  # fmt: skip
def test_git_material(path: str, expected: bool) -> None:
    assert is_git_material(path) is expected


# --- LFS pointers --------------------------------------------------------------------------------

OID = hashlib.sha256(b"x").hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode()


def test_a_pointer() -> None:
    assert parse_lfs_pointer(POINTER) == LfsPointer(Digest(OID), 12345)
    assert LfsPointer(Digest(OID), 12345).canonical == POINTER


@pytest.mark.parametrize(
    "body",
    [
        POINTER[:-1],
        POINTER.replace(b"\n", b"\r\n"),
        POINTER.replace(b"oid", b"ext-0-foo sha256:" + b"0" * 64 + b"\noid"),
        POINTER + b"x-something else\n",
    ],
)
def test_hand_pushed_pointers_name_the_same_file(body: bytes) -> None:
    assert parse_lfs_pointer(body) == LfsPointer(Digest(OID), 12345)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a pointer",
        POINTER.replace(b"v1", b"v2"),
        POINTER.replace(b"sha256:", b"sha1:"),
        POINTER.replace(OID.encode(), OID.upper().encode()),
        POINTER.replace(b"12345", b"012345"),
        POINTER.replace(b"12345", b"-1"),
        POINTER.replace(b"12345", b"1e3"),
        POINTER.replace(b"12345", b"9" * 30),
        POINTER.replace(b"12345", "١٢".encode()),
        POINTER + b"size 1\n",
        POINTER.replace(b"size", b"Size"),
        b"oid sha256:" + OID.encode() + b"\nsize 1\nversion https://git-lfs.github.com/spec/v1\n",
        POINTER + b"z" * 1024,
        POINTER + b"\xff\n",
    ],
)
def test_malformed_pointers(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_lfs_pointer(body)


# --- packs ---------------------------------------------------------------------------------------


def pack_of(*records: bytes, count: int | None = None, version: int = 2) -> bytes:
    data = b"PACK" + struct.pack(">II", version, len(records) if count is None else count)
    data += b"".join(records)
    return data + hashlib.sha1(data).digest()


def record(number: int, size: int, payload: bytes, prefix: bytes = b"") -> bytes:
    header = bytearray()
    byte = (number << 4) | (size & 15)
    size >>= 4
    while size:
        header.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    header.append(byte)
    return bytes(header) + prefix + zlib.compress(payload)


@pytest.mark.parametrize(
    ("pack", "why"),
    [
        (b"", "not a git pack"),
        (pack_of(record(3, 1, b"x"))[:-1] + b"\0", "checksum"),
        (pack_of(version=4), "version"),
        (pack_of(count=2_000_000), "too many"),
        (pack_of(record(3, 1, b"x"), count=2), "cut short"),
        (pack_of(record(3, 1, b"x"), b"junk", count=1), "belong to no object"),
        (pack_of(record(3, 2, b"x")), "shorter"),
        (pack_of(record(3, 1, b"xy")), "longer"),
        (pack_of(record(3, 1, b"x" * 1_000_000)), "longer"),
        (pack_of(record(5, 1, b"x")), "unknown type"),
        (pack_of(record(0, 1, b"x")), "unknown type"),
        (pack_of(record(3, 1 << 40, b"x")), "more than is allowed"),
        (pack_of(bytes([0xB0]) + b"\xff" * 30), "header"),
        (pack_of(b"\x31notzlib"), "inflate"),
        (pack_of(record(7, 3, b"\x01\x01\x00", bytes(20))), "without a base"),
        (pack_of(record(6, 3, b"\x01\x01\x00", b"\x05")), "without a base"),
        (pack_of(record(6, 3, b"\x01\x01\x00", b"\xff" * 12)), "offset"),
    ],
)
def test_malformed_packs(pack: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        read_pack(pack, max_inflated=1 << 20)


def test_a_pack_that_inflates_too_far_is_refused_before() -> None:
    bomb = record(3, 1 << 30, b"\0" * (1 << 20))
    with pytest.raises(FormatError, match="more than is allowed"):
        read_pack(pack_of(bomb), max_inflated=1 << 20)


def test_a_delta_that_grows_too_far_is_refused() -> None:
    base = b"a" * 60_000
    copy = b"\xb0\x60\xea"  # copy offset 0, size 0xea60 = 60000
    delta = b"\xe0\xd4\x03" + b"\x80\xf0\xf7\x5d" + copy * 3000
    whole = record(3, len(base), base)
    pack = pack_of(whole, record(6, len(delta), delta, _offset(len(whole))))
    with pytest.raises(FormatError, match="allowed"):
        read_pack(pack, max_inflated=1 << 20)


def _offset(distance: int) -> bytes:
    out = [distance & 0x7F]
    while distance := (distance >> 7):
        distance -= 1
        out.append(0x80 | (distance & 0x7F))
    return bytes(reversed(out))


def test_deltas_are_applied() -> None:
    assert apply_delta(b"hello", b"\x05\x07\x90\x05\x02!!") == b"hello!!"


@pytest.mark.parametrize(
    "delta",
    [
        b"",
        b"\x04\x05\x90\x05",  # base of another size
        b"\x05\x05\x90\x06",  # copies beyond the base
        b"\x05\x04\x90\x05",  # makes more than it says
        b"\x05\x06\x90\x05",  # makes fewer
        b"\x05\x05\x00",  # reserved
        b"\x05\x05\x05ab",  # literal cut short
        b"\x05\x05\x90",  # copy cut short
        b"\xff" * 20,
    ],
)
def test_malformed_deltas(delta: bytes) -> None:
    with pytest.raises(FormatError):
        apply_delta(b"hello", delta)


def test_many_objects_do_not_cost_the_square() -> None:
    pack = write_pack(("blob", b"%d" % i) for i in range(20_000))
    assert len(read_pack(pack, max_inflated=1 << 20).bodies) == 20_000
