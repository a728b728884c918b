"""Recognises pickles by what they do, under any name; never loads one.

A stream is a pickle if it begins with a protocol marker, or if running its opcodes on an abstract
stack gets as far as calling something it imported, or reaches the end of the file exactly. Broken
pickles act before they break, so the walk need not reach its end (fickling's "test_bypasses").
Opcodes: Python's `pickletools`.
"""

import io
import pickletools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_OPCODES: Final = 4096
_HIGHEST_PROTOCOL: Final = 5
_IMPORTS: Final = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
_CALLS: Final = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_NAME: Final = re.compile(r"[^\W\d][\w.]* [^\W\d][\w.]*\Z")
_MARKED: Final = re.compile(rb"\x80[\x02-\x05]")


@dataclass(frozen=True, slots=True)
class PickleSign:
    """Why a stream is taken for a pickle; `names` are the globals it imports, as far as seen."""

    reason: str
    names: tuple[str, ...]


def identify(data: bytes, *, whole: bool) -> PickleSign | None:
    """Say why `data` (a file from its first byte; `whole`: to its last) is a pickle, or None."""
    trace = _walk(data)
    if len(data) >= 2 and data[0] == 0x80 and data[1] <= _HIGHEST_PROTOCOL:
        return PickleSign(f"begins with the marker of pickle protocol {data[1]}", trace.names)
    if trace.called:
        return PickleSign("its first bytes import and call", trace.names)
    if whole and trace.ended and trace.count >= 3 and not data[trace.end :].strip():
        return PickleSign("is one complete pickle stream", trace.names)
    return None


def find_inside(data: bytes) -> tuple[int, PickleSign] | None:
    """Find a pickle that begins behind the first byte of `data` and would call something."""
    for match in _MARKED.finditer(data, 1):
        trace = _walk(data[match.start() : match.start() + 65536])
        if trace.called and trace.names:
            return match.start(), PickleSign("holds a pickle that calls", trace.names)
    return None


@dataclass(slots=True)
class _Trace:
    names: tuple[str, ...] = ()
    called: bool = False
    ended: bool = False
    end: int = 0
    count: int = 0


def _walk(data: bytes) -> _Trace:
    trace = _Trace()
    stack: list[object] = []
    strings: list[str] = []
    imported = False
    for opcode, argument, position in _opcodes(data):
        trace.count += 1
        if opcode.name in _IMPORTS:
            name = _imported_name(opcode.name, argument, strings)
            if name is None:
                return trace
            imported = True
            trace.names = (*trace.names[:15], name.replace(" ", "."))
        if isinstance(argument, str) and opcode.name not in _IMPORTS:
            strings.append(argument)
        if not _apply(opcode, stack):
            return trace
        if opcode.name in _CALLS and imported:
            trace.called = True
        if opcode.name == "STOP":
            trace.ended, trace.end = True, position + 1
    return trace


def _opcodes(data: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, object, int]]:
    """Opcodes until the stream ends, breaks, or goes on for too long."""
    stream = pickletools.genops(io.BytesIO(data))
    for _ in range(MAX_OPCODES):
        try:
            with warnings.catch_warnings():  # pickletools warns of odd escapes in text it decodes
                warnings.simplefilter("ignore")
                opcode, argument, position = next(stream)
        except (StopIteration, ValueError, IndexError, EOFError, OverflowError, SyntaxError):
            return
        yield opcode, argument, position or 0


def _imported_name(opcode: str, argument: object, strings: list[str]) -> str | None:
    if opcode == "STACK_GLOBAL":
        return " ".join(strings[-2:]) if len(strings) >= 2 else None
    if opcode.startswith("EXT"):
        return f"copyreg extension{argument}"
    text = str(argument)
    return text if _NAME.match(text) else None


def _apply(opcode: pickletools.OpcodeInfo, stack: list[object]) -> bool:
    """Do to `stack` what the opcode does. False: the real machine would stop here."""
    before, after = opcode.stack_before, opcode.stack_after
    mark = pickletools.markobject
    if mark in before or (opcode.name == "POP" and stack and stack[-1] is mark):
        while stack and stack[-1] is not mark:
            stack.pop()
        if not stack:
            return False
        stack.pop()
        before = before[: before.index(mark)] if mark in before else []
    if len(stack) < len(before):
        return False
    if opcode.name == "REDUCE" and stack[-1] not in {pickletools.pytuple, pickletools.anyobject}:
        return False
    if before:
        del stack[len(stack) - len(before) :]
    stack.extend(after)
    return True
