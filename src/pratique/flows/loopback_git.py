"""Git's smart HTTP, protocol version 2, over objects in memory: enough for a clone or a proof.

Serves honestly what it is given (gitprotocol-v2(5), gitprotocol-http(5)): `ls-refs`, and `fetch` of
any object by id with `deepen 1` and `filter blob:none`. For demonstrations and tests on loopback.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pratique.core.ids import GitId
from pratique.formats.git import ObjectKind, parse_commit_object, parse_tree

ADVERTISEMENT: Final = "application/x-git-upload-pack-advertisement"
RESULT: Final = "application/x-git-upload-pack-result"

_NUMBERS: Final[Mapping[ObjectKind, int]] = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_FLUSH: Final = b"0000"
_DELIMITER: Final = b"0001"
_SIDEBAND: Final = 65515

Objects = Mapping[GitId, tuple[ObjectKind, bytes]]


@dataclass(frozen=True, slots=True)
class GitStore:
    """Objects by id, and where branches and tags point. `refs` has full names and HEAD's target."""

    objects: Objects
    refs: Mapping[str, GitId]
    head: str = "refs/heads/main"


def pkt(payload: bytes) -> bytes:
    """Frame one line: four hex digits of length, then the payload."""
    return f"{len(payload) + 4:04x}".encode() + payload


def unframe(data: bytes) -> list[bytes]:
    """Take lines apart; flush and delimiter come as themselves. Stops at malformed framing."""
    lines: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        try:
            size = int(data[at : at + 4], 16)
        except ValueError:
            break
        if size < 4:
            lines.append(data[at : at + 4])
            at += 4
        else:
            lines.append(data[at + 4 : at + size])
            at += size
    return lines


def advertise(*, filters: bool = True) -> bytes:
    """The answer to `info/refs?service=git-upload-pack` with `Git-Protocol: version=2`."""
    fetch = b"fetch=shallow filter\n" if filters else b"fetch=shallow\n"
    lines = [b"version 2\n", b"agent=pratique-loopback\n", b"ls-refs\n", fetch]
    lines.append(b"object-format=sha1\n")
    head = pkt(b"# service=git-upload-pack\n") + _FLUSH
    return head + b"".join(map(pkt, lines)) + _FLUSH


def upload_pack(store: GitStore, body: bytes) -> bytes:
    """Answer one `git-upload-pack` request."""
    lines = [line.rstrip(b"\n") for line in unframe(body)]
    if b"command=ls-refs" in lines:
        return _refs(store)
    if b"command=fetch" in lines:
        return _fetch(store, lines)
    return pkt(b"ERR unknown command\n") + _FLUSH


def _refs(store: GitStore) -> bytes:
    lines: list[bytes] = []
    if store.head in store.refs:
        target = store.refs[store.head]
        lines.append(f"{target} HEAD symref-target:{store.head}\n".encode())
    lines += [f"{oid} {name}\n".encode() for name, oid in sorted(store.refs.items())]
    return b"".join(map(pkt, lines)) + _FLUSH


def _fetch(store: GitStore, lines: list[bytes]) -> bytes:
    wants = [GitId(line[5:].decode("latin-1")) for line in lines if line.startswith(b"want ")]
    for oid in wants:
        if oid not in store.objects:
            return pkt(f"ERR upload-pack: not our ref {oid}\n".encode()) + _FLUSH
    shallow = any(line.startswith(b"deepen ") for line in lines)
    blobs = b"filter blob:none" not in lines
    picked = _pick(store, wants, shallow=shallow, blobs=blobs)
    out: list[bytes] = []
    if shallow:
        cut = [oid for oid in wants if _parents(store, oid)]
        out.append(pkt(b"shallow-info\n"))
        out += [pkt(f"shallow {oid}\n".encode()) for oid in cut]
        out.append(_DELIMITER)
    out.append(pkt(b"packfile\n"))
    pack = write_pack(store.objects[oid] for oid in picked)
    out += [pkt(b"\1" + pack[i : i + _SIDEBAND]) for i in range(0, len(pack), _SIDEBAND)]
    return b"".join(out) + _FLUSH


def _parents(store: GitStore, oid: GitId) -> tuple[GitId, ...]:
    kind, body = store.objects[oid]
    return parse_commit_object(body).parents if kind == "commit" else ()


def _pick(store: GitStore, wants: Iterable[GitId], *, shallow: bool, blobs: bool) -> list[GitId]:
    wanted = set(wants)
    picked: dict[GitId, None] = {}
    stack = list(wanted)
    while stack:
        oid = stack.pop()
        if oid in picked or oid not in store.objects:
            continue
        kind, body = store.objects[oid]
        if kind == "blob" and not blobs and oid not in wanted:
            continue
        picked[oid] = None
        if kind == "commit":
            commit = parse_commit_object(body)
            stack += [commit.tree, *(() if shallow else commit.parents)]
        elif kind == "tree":
            stack += [entry.id for entry in parse_tree(body)]
    return list(picked)


def write_pack(objects: Iterable[tuple[ObjectKind, bytes]]) -> bytes:
    """Write a pack without deltas (gitformat-pack(5))."""
    records = [b"".join(_record(kind, body)) for kind, body in objects]
    data = b"PACK" + struct.pack(">II", 2, len(records)) + b"".join(records)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def _record(kind: ObjectKind, body: bytes) -> Iterator[bytes]:
    size = len(body)
    byte = (_NUMBERS[kind] << 4) | (size & 15)
    size >>= 4
    header = bytearray()
    while size:
        header.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    header.append(byte)
    yield bytes(header)
    yield zlib.compress(body)
