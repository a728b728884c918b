"""Xet storage on loopback: files as chunks in xorbs, in the published format.

What is here follows huggingface.co/docs/xet: a chunk's hash is BLAKE3 under a fixed key, a xorb's is
the root of a tree over its chunks, a file's is that of its chunks hashed once more under a key of
zeros; a xorb is chunk after chunk, each behind a header of eight bytes. Files are cut at fixed places:
who downloads is told where the cuts are.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import blake3

from pratique.flows.loopback_http import Reply, Request
from tests.support.hub.world import Lie, World, content

CHUNK: Final = 64 << 10
CHUNKS_IN_XORB: Final = 64
NONE, LZ4, GROUPED_LZ4 = 0, 1, 2
TOKEN: Final = "storage-token"

_DATA_KEY: Final = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY: Final = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)\Z", re.ASCII)


# --- hashes --------------------------------------------------------------------------------------


def _blake(key: bytes, data: bytes) -> bytes:
    return bytes(blake3.blake3(data, key=key).digest())


def spelled(digest: bytes) -> str:
    """A hash as it is written: each group of eight bytes as a little-endian number."""
    return "".join(f"{int.from_bytes(digest[i : i + 8], 'little'):016x}" for i in range(0, 32, 8))


def _root(nodes: Sequence[tuple[bytes, int]]) -> bytes:
    """The root of the tree: two to nine children a node, cut after a hash that four divides."""
    while len(nodes) > 1:
        parents: list[tuple[bytes, int]] = []
        at = 0
        while at < len(nodes):
            group = nodes[at : at + _children(nodes[at:])]
            text = "".join(f"{spelled(h)} : {size}\n" for h, size in group)
            parents.append((_blake(_NODE_KEY, text.encode()), sum(size for _, size in group)))
            at += len(group)
        nodes = parents
    return nodes[0][0]


def _children(nodes: Sequence[tuple[bytes, int]]) -> int:
    for index in range(2, min(9, len(nodes))):
        if int.from_bytes(nodes[index][0][24:], "little") % 4 == 0:
            return index + 1
    return min(9, len(nodes))


def _hashed(chunks: Sequence[bytes]) -> list[tuple[bytes, int]]:
    return [(_blake(_DATA_KEY, chunk), len(chunk)) for chunk in chunks]


def file_hash(chunks: Sequence[bytes]) -> str:
    """The name of a file in Xet storage."""
    return spelled(_blake(bytes(32), _root(_hashed(chunks))))


# --- chunks --------------------------------------------------------------------------------------


def lz4_frame(data: bytes) -> bytes:
    """An LZ4 frame of one block of at most 64 KiB, no checksums: greedy, and slow."""
    seen: dict[bytes, int] = {}
    block = bytearray()
    at = literal = 0
    while at < len(data) - 12:
        key = data[at : at + 4]
        before, seen[key] = seen.get(key, -1), at
        if before < 0 or at - before > 0xFFFF:
            at += 1
            continue
        end, limit = at + 4, len(data) - 5
        while end < limit and data[end] == data[before + end - at]:
            end += 1
        block += _sequence(data[literal:at], at - before, end - at)
        at = literal = end
    block += _sequence(data[literal:], 0, 0)
    header = len(block)
    if len(block) >= len(data):
        block, header = bytearray(data), len(data) | 1 << 31  # "not compressed"
    return b"\x04\x22\x4d\x18\x60\x40\x82" + header.to_bytes(4, "little") + block + bytes(4)


def _sequence(literals: bytes, offset: int, length: int) -> bytes:
    """Literals, then a match of `length` (none if 0)."""
    more = max(0, length - 4)
    out = bytearray([min(15, len(literals)) << 4 | min(15, more)])
    out += _rest(len(literals)) + literals
    if length:
        out += offset.to_bytes(2, "little") + _rest(more)
    return bytes(out)


def _rest(count: int) -> bytes:
    if count < 15:
        return b""
    return b"\xff" * ((count - 15) // 255) + bytes([(count - 15) % 255])


def grouped(data: bytes) -> bytes:
    """Every fourth byte together: first all first bytes, then all second ones, and so on."""
    return b"".join(data[i::4] for i in range(4))


def packed_chunk(data: bytes, scheme: int) -> bytes:
    """A chunk as it lies in a xorb."""
    body = {NONE: bytes, LZ4: lz4_frame, GROUPED_LZ4: lambda d: lz4_frame(grouped(d))}[scheme](data)
    lengths = len(body).to_bytes(3, "little"), len(data).to_bytes(3, "little")
    return b"\0" + lengths[0] + bytes([scheme]) + lengths[1] + body


# --- storage -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Xorb:
    """A container: `bounds[i]` is where chunk i begins in `body`."""

    name: str
    body: bytes
    bounds: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, chunks: Sequence[bytes], schemes: Sequence[int]) -> "Xorb":
        packed = [packed_chunk(c, s) for c, s in zip(chunks, schemes, strict=True)]
        bounds = [0]
        for piece in packed:
            bounds.append(bounds[-1] + len(piece))
        name = spelled(_root(_hashed(chunks)))
        return cls(name, b"".join(packed), tuple(bounds), tuple(len(c) for c in chunks))


@dataclass(frozen=True, slots=True)
class Stored:
    """A file: its xorbs in order, each used whole."""

    size: int
    xorbs: tuple[Xorb, ...]


@dataclass
class XetStorage:
    """A content store under `/cas` and `/xorb` of a loopback Hub."""

    files: dict[str, Stored] = field(default_factory=dict)
    xorbs: dict[str, Xorb] = field(default_factory=dict)
    versions: tuple[str, ...] = ("v2", "v1")
    expires: int = 4_000_000_000

    def add(self, content: bytes, scheme: int = NONE) -> str:
        """Store a file; every second chunk plain, the others by `scheme`. Returns its name."""
        chunks = [content[i : i + CHUNK] for i in range(0, len(content), CHUNK)]
        xorbs: list[Xorb] = []
        for at in range(0, len(chunks), CHUNKS_IN_XORB):
            group = chunks[at : at + CHUNKS_IN_XORB]
            xorbs.append(
                Xorb.of(group, [scheme if i % 2 == 0 else NONE for i in range(len(group))])
            )
        name = file_hash(chunks)
        self.files[name] = Stored(len(content), tuple(xorbs))
        self.xorbs |= {xorb.name: xorb for xorb in xorbs}
        return name

    def token(self, base: str) -> Reply:
        """The Hub's answer that leads here."""
        return _json({"casUrl": base + "/cas", "accessToken": TOKEN, "exp": self.expires})

    def respond(self, request: Request, base: str) -> Reply | None:
        """Answer what is asked of the storage; None for anything else. `base` is its own URL."""
        version, _, name = request.path.removeprefix("/cas/").partition("/reconstructions/")
        if request.path.startswith("/xorb/"):
            return self._xorb(request)
        if not request.path.startswith("/cas/"):
            return None
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(401)
        if version not in self.versions or name not in self.files:
            return Reply(404)
        return self._reconstruction(request, version, self.files[name], base)

    def _xorb(self, request: Request) -> Reply:
        xorb = self.xorbs.get(request.path.removeprefix("/xorb/"))
        match = _RANGE.match(request.headers.get("range", ""))
        if xorb is None or match is None:
            return Reply(404 if xorb is None else 403)
        start, end = int(match[1]), min(int(match[2]), len(xorb.body) - 1)
        headers = {"Content-Range": f"bytes {start}-{end}/{len(xorb.body)}"}
        return Reply(206, headers, xorb.body[start : end + 1])

    def _reconstruction(self, request: Request, version: str, file: Stored, base: str) -> Reply:
        match = _RANGE.match(request.headers.get("range", ""))
        first, last = (int(match[1]), int(match[2])) if match else (0, file.size - 1)
        if first >= file.size:
            return Reply(416)
        terms: list[dict[str, object]] = []
        sources: dict[str, list[dict[str, object]]] = {}
        offset, at = 0, 0
        for xorb in file.xorbs:
            inside: list[int] = []
            for index, size in enumerate(xorb.sizes):
                if at + size > first and at <= last:
                    if not terms and not inside:
                        offset = first - at
                    inside.append(index)
                at += size
            if inside:
                begin, end = inside[0], inside[-1] + 1
                chunks = {"start": begin, "end": end}
                length = sum(xorb.sizes[begin:end])
                terms.append({"hash": xorb.name, "range": chunks, "unpacked_length": length})
                source = _source(version, f"{base}/xorb/{xorb.name}", xorb, begin, end)
                sources.setdefault(xorb.name, []).append(source)
        key = "xorbs" if version == "v2" else "fetch_info"
        return _json({"offset_into_first_range": offset, "terms": terms, key: sources})


def _source(version: str, url: str, xorb: Xorb, begin: int, end: int) -> dict[str, object]:
    chunks: Mapping[str, int] = {"start": begin, "end": end}
    where = {"start": xorb.bounds[begin], "end": xorb.bounds[end] - 1}
    if version == "v2":
        return {"url": url, "ranges": [{"chunks": chunks, "bytes": where}]}
    return {"url": url, "range": chunks, "url_range": where}


def _json(value: object) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


# --- before a loopback Hub -----------------------------------------------------------------------


def offered(world: World, storage: XetStorage, name: str) -> Lie:
    """Let the Hub of `world` keep its large file in `storage`, under `name`."""

    def lie(request: Request, reply: Reply) -> Reply:
        if "/tree/" in request.path:
            rows = json.loads(content(reply))
            for row in rows:
                if "lfs" in row:
                    row["xetHash"] = name
            return replace(reply, body=json.dumps(rows).encode())
        if "/xet-read-token/" in request.path:
            return storage.token(world.hub.url)
        return storage.respond(request, world.hub.url) or reply

    return lie
