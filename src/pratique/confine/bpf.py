"""Rules on system calls → a classic BPF program for seccomp: default deny, foreign machines killed.

The program is straight-line: one self-contained block per range of numbers or per ruled call, each
of which ends in a return. There is no jump across blocks, so that none can be computed wrongly.
Layout of the data it reads: `struct seccomp_data` (nr, arch, instruction pointer, six arguments).
"""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pratique.confine.syscalls import LAST_KNOWN

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

LOAD, AND, RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
EQUAL, GREATER, AT_LEAST = 0x15, 0x25, 0x35  # BPF_JMP| JEQ, JGT, JGE |K
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
X32_BIT = 0x40000000  # the x32 ABI shares x86_64's audit word and marks its numbers (seccomp(2))
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Condition:
    """`(argument & mask)` must be one of `values`, or none of them where `among` is False.

    Compares the low 32 bits of the argument, or the high ones: kernels read int arguments so.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = _WORD
    among: bool = True
    high: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Allow the call if every condition holds; answer `error` otherwise. No condition: always."""

    conditions: tuple[Condition, ...]
    error: int = errno.EPERM
    refuse: bool = False  # answer `error` whatever the arguments are


def assemble(
    audit: int, allowed: Iterable[int], rules: Mapping[int, Rule], *, x32: bool
) -> list[Instruction]:
    """The program: allows `allowed`, applies `rules`, refuses every other number with EPERM.

    Numbers above the newest that this tool knows get ENOSYS, so that libraries fall back. A call
    made for another machine, or for x32 on x86_64, kills the process. Rules win over `allowed`.
    """
    program: list[Instruction] = [
        (LOAD, 0, 0, _ARCHITECTURE),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, _NUMBER),
    ]
    if x32:
        program += [(AT_LEAST, 0, 1, X32_BIT), (RETURN, 0, 0, KILL_PROCESS)]
    for first, last in _ranges(set(allowed) - set(rules)):
        program += _range_block(first, last)
    for number, rule in sorted(rules.items()):
        body = _rule_body(rule)
        program += [(EQUAL, 0, len(body), number), *body]
    program += [(GREATER, 0, 1, LAST_KNOWN), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    return [*program, (RETURN, 0, 0, ERRNO | errno.EPERM)]


def _ranges(numbers: set[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers joined: [(first, last), …]."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _range_block(first: int, last: int) -> list[Instruction]:
    if first == last:
        return [(EQUAL, 0, 1, first), (RETURN, 0, 0, ALLOW)]
    return [(AT_LEAST, 0, 2, first), (GREATER, 1, 0, last), (RETURN, 0, 0, ALLOW)]


def _rule_body(rule: Rule) -> list[Instruction]:
    refuse = (RETURN, 0, 0, ERRNO | rule.error)
    if rule.refuse:
        return [refuse]
    body: list[Instruction] = []
    for condition in rule.conditions:
        offset = _ARGUMENTS + 8 * condition.argument + 4 * condition.high  # little-endian words
        body.append((LOAD, 0, 0, offset))
        if condition.mask != _WORD:
            body.append((AND, 0, 0, condition.mask))
        if condition.among:
            count = len(condition.values)
            body += [(EQUAL, count - at, 0, value) for at, value in enumerate(condition.values)]
            body.append(refuse)
        else:
            for value in condition.values:
                body += [(EQUAL, 0, 1, value), refuse]
    return [*body, (RETURN, 0, 0, ALLOW)]
