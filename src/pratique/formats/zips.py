"""ZIP archives that every reader reads alike.

Central directory and local headers must tell the same story, members must not overlap, nothing may
lie before, between or behind what the directory names, and names must be plain. Whatever two
readers could take differently is refused. (PKWARE APPNOTE 6.3.10)
"""

import struct
import zlib
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

from pratique.core.ids import path_problem, shown
from pratique.errors import FormatError

MAX_MEMBERS: Final = 100_000
MAX_DIRECTORY: Final = 32 * 2**20
STORED: Final = 0
DEFLATED: Final = 8
EOCD_MAGIC: Final = b"PK\x05\x06"
LOCAL_MAGIC: Final = b"PK\x03\x04"
_EOCD: Final = struct.Struct("<4s4H2LH")
_EOCD64_LOCATOR: Final = struct.Struct("<4sLQL")
_EOCD64: Final = struct.Struct("<4sQ2H2L4Q")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_FLAG_DESCRIPTOR: Final = 0x8
_FLAG_UTF8: Final = 0x800
_FLAG_DEFLATE_LEVEL: Final = 0x6
_MAX32: Final = 0xFFFFFFFF
_MAX16: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive; `data_offset` is where its (compressed) bytes begin."""

    name: str
    method: int
    flags: int
    crc: int
    packed_size: int
    size: int
    header_offset: int
    data_offset: int


@dataclass(frozen=True, slots=True)
class _Directory:
    offset: int
    size: int
    count: int
    end: int


def find_end(tail: bytes) -> int | None:
    """Offset in `tail` (a file's last 65,557 bytes or fewer) of a ZIP end record, or None.

    Only a record whose comment reaches exactly to the end counts: what readers look for.
    """
    at = len(tail)
    while (at := tail.rfind(EOCD_MAGIC, 0, at)) >= 0:
        if at + _EOCD.size <= len(tail):
            fields = _EOCD.unpack_from(tail, at)
            if at + _EOCD.size + fields[7] == len(tail):
                return at
    return None


def read_index(file: BufferedReader, size: int) -> tuple[Member, ...]:
    """Return the archive's members in file order. Raises FormatError for anything ambiguous.

    Does NOT check member data: see `check_crc`.
    """
    directory = _find_directory(file, size)
    file.seek(directory.offset)
    raw = file.read(directory.size)
    members: list[Member] = []
    position = 0
    names: set[str] = set()
    for _ in range(directory.count):
        member, position = _central(raw, position)
        if member.name in names:
            raise FormatError(f"names the member {shown(member.name)} twice")
        names.add(member.name)
        members.append(member)
    if position != len(raw):
        raise FormatError("has bytes behind its last directory entry")
    return _located(file, sorted(members, key=lambda m: m.header_offset), directory.offset)


def check_crc(file: BufferedReader, member: Member) -> None:
    """Read a member's data once and compare its CRC-32. Raises FormatError; memory is flat."""
    file.seek(member.data_offset)
    left, crc, total = member.packed_size, 0, 0
    inflate = zlib.decompressobj(-15) if member.method == DEFLATED else None
    while left:
        block = file.read(min(left, 2**20))
        if not block:
            raise FormatError(f"member {shown(member.name)} is cut short")
        left -= len(block)
        for piece in _inflated(inflate, block, member) if inflate else (block,):
            crc = zlib.crc32(piece, crc)
            total += len(piece)
            if total > member.size:
                raise FormatError(f"member {shown(member.name)} is larger than it says")
    if crc != member.crc or total != member.size:
        raise FormatError(f"member {shown(member.name)} does not match its checksum or size")


def read_member(file: BufferedReader, member: Member, limit: int) -> bytes:
    """Return a member's bytes, at most `limit`. Raises FormatError."""
    if member.size > limit:
        raise FormatError(f"member {shown(member.name)} is larger than {limit} bytes")
    file.seek(member.data_offset)
    data = file.read(member.packed_size)
    if member.method == STORED:
        return data
    try:
        plain = zlib.decompressobj(-15).decompress(data, limit + 1)
    except zlib.error as error:
        raise FormatError(f"member {shown(member.name)} does not unpack") from error
    if len(plain) != member.size:
        raise FormatError(f"member {shown(member.name)} does not have the size it says")
    return plain


def read_beginning(file: BufferedReader, member: Member, count: int) -> bytes:
    """Return the first `count` bytes of a member, or all of it. Raises FormatError."""
    file.seek(member.data_offset)
    packed = file.read(min(member.packed_size, count))
    if member.method == STORED:
        return packed
    try:
        return zlib.decompressobj(-15).decompress(packed, count)
    except zlib.error as error:
        raise FormatError(f"member {shown(member.name)} does not unpack") from error


def _inflated(inflate: "zlib._Decompress", block: bytes, member: Member) -> tuple[bytes, ...]:
    pieces: list[bytes] = []
    total = 0
    try:
        while block:
            piece = inflate.decompress(block, 2**20)
            total += len(piece)
            if total > member.size:
                raise FormatError(f"member {shown(member.name)} is larger than it says")
            pieces.append(piece)
            block = inflate.unconsumed_tail
    except zlib.error as error:
        raise FormatError(f"member {shown(member.name)} does not unpack") from error
    return tuple(pieces)


def _find_directory(file: BufferedReader, size: int) -> _Directory:
    span = min(size, _EOCD.size + _MAX16)
    file.seek(size - span)
    tail = file.read(span)
    at = find_end(tail)
    if at is None:
        raise FormatError("has no ZIP directory at its end")
    _, disk, start_disk, here, count, length, offset, comment = _EOCD.unpack_from(tail, at)
    if comment:
        raise FormatError("has a comment behind the ZIP directory")
    if disk not in {0, _MAX16} or start_disk not in {0, _MAX16} or here != count:
        raise FormatError("is one part of a split archive")
    end = size - span + at
    if (wide := _wide_directory(file, tail, at, end)) is not None:
        _agree(wide, count, length, offset)
        found = wide
    else:
        found = _Directory(offset, length, count, end)
    if found.count > MAX_MEMBERS or found.size > MAX_DIRECTORY:
        raise FormatError(f"has a directory of {found.count} members in {found.size} bytes")
    if found.offset + found.size != found.end:
        raise FormatError("has bytes that its ZIP directory does not account for")
    return found


def _agree(wide: _Directory, count: int, length: int, offset: int) -> None:
    pairs = (
        (wide.count, count, _MAX16),
        (wide.size, length, _MAX32),
        (wide.offset, offset, _MAX32),
    )
    if any(narrow not in {value, limit} for value, narrow, limit in pairs):
        raise FormatError("has two end records that disagree")


def _wide_directory(file: BufferedReader, tail: bytes, at: int, end: int) -> _Directory | None:
    """The ZIP64 end record, if there is a locator right before the end record."""
    if at < _EOCD64_LOCATOR.size:
        return None
    magic, disk, offset, disks = _EOCD64_LOCATOR.unpack_from(tail, at - _EOCD64_LOCATOR.size)
    if magic != b"PK\x06\x07":
        return None
    if disk or disks > 1 or offset + _EOCD64.size != end - _EOCD64_LOCATOR.size:
        raise FormatError("has a misplaced ZIP64 end record")
    file.seek(offset)
    fields = _EOCD64.unpack(file.read(_EOCD64.size))
    if fields[0] != b"PK\x06\x06" or fields[1] != _EOCD64.size - 12 or fields[6] != fields[7]:
        raise FormatError("has a malformed ZIP64 end record")
    return _Directory(fields[9], fields[8], fields[7], offset)


def _central(raw: bytes, at: int) -> tuple[Member, int]:
    if at + _CENTRAL.size > len(raw):
        raise FormatError("has a directory that is cut short")
    fields = _CENTRAL.unpack_from(raw, at)
    magic, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment = fields[:13]
    disk, _, _, offset = fields[13:17]
    if magic != b"PK\x01\x02" or n_comment or disk:
        raise FormatError("has a malformed directory entry, or one with a comment")
    begin = at + _CENTRAL.size
    end = begin + n_name + n_extra
    if end > len(raw):
        raise FormatError("has a directory that is cut short")
    name = _name(raw[begin : begin + n_name], flags)
    packed, size, offset = _widened(raw[begin + n_name : end], packed, size, offset, name)
    _check_member(name, flags, method, packed, size)
    return Member(name, method, flags, crc, packed, size, offset, -1), end


def _name(raw: bytes, flags: int) -> str:
    if not raw.isascii() and not flags & _FLAG_UTF8:
        raise FormatError("has a member name in an unnamed encoding")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("has a member name that is not UTF-8") from error
    if (problem := path_problem(name.rstrip("/") if name.endswith("/") else name)) is not None:
        raise FormatError(f"has a member {shown(name)} whose name {problem}")
    return name


def _check_member(name: str, flags: int, method: int, packed: int, size: int) -> None:
    if flags & ~(_FLAG_DESCRIPTOR | _FLAG_UTF8 | _FLAG_DEFLATE_LEVEL):
        raise FormatError(f"member {shown(name)} has the flags {flags:#x} (encrypted or patched)")
    if method not in {STORED, DEFLATED}:
        raise FormatError(f"member {shown(name)} is packed by method {method}")
    if method == STORED and packed != size:
        raise FormatError(f"member {shown(name)} is stored but has two sizes")


def _widened(extra: bytes, packed: int, size: int, offset: int, name: str) -> tuple[int, int, int]:
    """Replace 32-bit sizes and offset that say "see the ZIP64 field"."""
    wide = _zip64_field(extra, name)
    values = [size, packed, offset]
    at = 0
    for i, value in enumerate(values):
        if value == _MAX32:
            if at + 8 > len(wide):
                raise FormatError(f"member {shown(name)} lacks its ZIP64 sizes")
            (values[i],) = struct.unpack_from("<Q", wide, at)
            at += 8
    return values[1], values[0], values[2]


def _zip64_field(extra: bytes, name: str) -> bytes:
    at = 0
    found = b""
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if at + 4 + length > len(extra):
            raise FormatError(f"member {shown(name)} has a malformed extra field")
        if tag == 1:
            if found:
                raise FormatError(f"member {shown(name)} has two ZIP64 fields")
            found = extra[at + 4 : at + 4 + length]
        elif tag == 0x7075:
            raise FormatError(f"member {shown(name)} has a second name")
        at += 4 + length
    return found


def _located(
    file: BufferedReader, members: list[Member], directory_offset: int
) -> tuple[Member, ...]:
    """Check each local header against its directory entry; members must follow one another."""
    located: list[Member] = []
    position = 0
    for member in members:
        if member.header_offset != position:
            raise FormatError(f"has bytes before, or shared with, the member {shown(member.name)}")
        data_offset = _local(file, member)
        position = data_offset + member.packed_size
        position += _descriptor_length(file, member, position)
        if position > directory_offset:
            raise FormatError(f"member {shown(member.name)} reaches into the directory")
        located.append(
            Member(
                member.name, member.method, member.flags, member.crc, member.packed_size,
                member.size, member.header_offset, data_offset,
            )
        )  # fmt: skip
    if position != directory_offset:
        raise FormatError("has bytes between its last member and its directory")
    return tuple(located)


def _local(file: BufferedReader, member: Member) -> int:
    file.seek(member.header_offset)
    raw = file.read(_LOCAL.size)
    if len(raw) < _LOCAL.size:
        raise FormatError(f"member {shown(member.name)} has no local header")
    magic, _, flags, method, _, _, crc, packed, size, n_name, n_extra = _LOCAL.unpack(raw)
    name = file.read(n_name)
    extra = file.read(n_extra)
    if magic != LOCAL_MAGIC or name != member.name.encode():
        raise FormatError(f"member {shown(member.name)} has another name in its local header")
    if flags != member.flags or method != member.method:
        raise FormatError(f"member {shown(member.name)} has two different headers")
    packed, size, _ = _widened(extra, packed, size, 0, member.name)
    told = (crc, packed, size)
    if told != (member.crc, member.packed_size, member.size) and not (
        flags & _FLAG_DESCRIPTOR and set(told) <= {0, member.crc, member.packed_size, member.size}
    ):
        raise FormatError(f"member {shown(member.name)} has two different sizes or checksums")
    return member.header_offset + _LOCAL.size + int(n_name) + int(n_extra)


def _descriptor_length(file: BufferedReader, member: Member, at: int) -> int:
    if not member.flags & _FLAG_DESCRIPTOR:
        return 0
    file.seek(at)
    raw = file.read(24)
    for form in ("<4sLLL", "<4sLQQ"):
        if len(raw) >= struct.calcsize(form):
            magic, crc, packed, size = struct.unpack_from(form, raw)
            if magic == b"PK\x07\x08" and (crc, packed, size) == (
                member.crc,
                member.packed_size,
                member.size,
            ):
                return struct.calcsize(form)
    raise FormatError(f"member {shown(member.name)} has a descriptor that disagrees")
