"""What bytes a token's name spells: a byte a letter (byte-level BPE), or one byte by its number."""

import re
from typing import Final

_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")


def _letters() -> dict[str, int]:
    """The letter that byte-level BPE writes for each byte (GPT-2, `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return {chr(code) if code in plain else chr(next(others)): code for code in range(256)}


_LETTERS: Final = _letters()


def by_letters(name: str) -> bytes | None:
    """Read a name of byte-level BPE; None where it is not one."""
    codes = [_LETTERS.get(letter) for letter in name]
    return None if None in codes else bytes(code for code in codes if code is not None)


def by_number(name: str) -> bytes | None:
    """Read `<0xE2>`; None for any other name."""
    found = _BYTE.fullmatch(name)
    return bytes([int(found[1], 16)]) if found else None


def bytes_of(name: str, text: str) -> bytes:
    """Return the bytes of the token `name`, which decodes to `text`.

    Only a piece of a character needs its name: it decodes to U+FFFD, whatever its bytes.
    """
    plain = text.encode("utf-8", "replace")
    if "\N{REPLACEMENT CHARACTER}" not in text:
        return plain
    spelled = by_number(name) or by_letters(name)
    return spelled if spelled and spelled.decode("utf-8", "replace") == text else plain
