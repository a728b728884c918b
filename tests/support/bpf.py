"""The kernel's classic BPF machine, as far as seccomp lets programs use it: runs a filter in Python.

Independent of the assembler under test: it knows instruction codes and `struct seccomp_data`.
"""

import struct


def verdict(program, number, arch, arguments=()):
    """What the filter returns for one system call."""
    arguments = [*arguments, *[0] * (6 - len(arguments))]
    words = [value & (1 << 64) - 1 for value in arguments]
    data = struct.pack("<iIQ6Q", number - (1 << 32) if number >> 31 else number, arch, 0, *words)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x06:
            return constant
        else:
            taken = {
                0x15: accumulator == constant,
                0x25: accumulator > constant,
                0x35: accumulator >= constant,
            }
            at += if_true if taken[code] else if_false
