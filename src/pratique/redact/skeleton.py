"""One byte for each character: the text that the patterns read.

The rule: a skeleton has exactly as many bytes as the text has characters, so an offset in one
is the offset in the other. RE2 in its Latin-1 mode then needs no conversion of offsets and
its automata stay small (a bounded repeat of a Unicode class costs hundreds of thousands of
states and runs out of memory; measured).

Latin letters lose their accents, Cyrillic letters take their Windows-1251 byte, the letters of
other scripts become one of three class bytes (upper case, lower case, without case), and marks
of punctuation become the ASCII mark that they stand for.
"""

import unicodedata

CASELESS, UPPER, LOWER, OTHER = "\x82", "\x84", "\x85", "\x01"

# Character classes for patterns (inside brackets). The high bytes are Windows-1251 letters.
UP = r"A-Z\x84\xC0-\xDF\xA8\xB2\xAA\xAF\xA5\xA1\xA3\x80\x81\x8A\x8C-\x8F"
LOW = r"a-z\x85\xE0-\xFF\xB8\xB3\xBA\xBF\xB4\xA2\xBC\x90\x83\x9A\x9C-\x9F"
LETTER = r"A-Za-z\x80\x81\x82\x83\x84\x85\x8A\x8C-\x90\x9A\x9C-\x9F\xA1-\xA3\xA5\xA8\xAA\xAF\xB2-\xB4\xB8\xBA\xBC\xBF-\xFF"

_SAME = {
    "ß": "s", "ẞ": "S", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d",
    "Ð": "D", "þ": "t", "Þ": "T", "æ": "a", "Æ": "A", "œ": "o", "Œ": "O", "ı": "i", "ħ": "h",
    "Ħ": "H", "ŋ": "n", "Ŋ": "N", "ə": "e", "Ə": "E", "ĸ": "k", "ŧ": "t", "Ŧ": "T",
    "。": ".", "｡": ".", "．": ".", "、": ",", "，": ",", "،": ",", "؛": ";", "؟": "?", "।": ".",
    "「": '"', "」": '"', "『": '"', "』": '"', "【": "[", "】": "]", "《": '"', "》": '"', "〈": '"',
    "〉": '"', "〔": "[", "〕": "]", "«": '"', "»": '"', "‹": "'", "›": "'", "“": '"', "”": '"',
    "„": '"', "‟": '"', "‘": "'", "’": "'", "‚": "'", "‛": "'", "`": "`", "´": "'", "′": "'",
    "״": '"', "׳": "'", "・": "-", "·": ".", "‧": ".", "∙": ".", "•": "*", "∶": ":", "꞉": ":",
    "：": ":", "٫": ".", "٬": ",", "⁄": "/", "∕": "/", "−": "-", "ー": CASELESS, "〜": "-", "～": "-",
    "＠": "@", "﹫": "@", "№": "#", "º": "o", "ª": "a", "→": ">", "⇒": ">", "־": "-", "〒": OTHER,
}  # fmt: skip


def _latin(char: str) -> str:
    base = unicodedata.normalize("NFKD", char)[0]
    return base if base.isascii() and base.isalpha() else ""


def _skeleton(char: str) -> str:
    if same := _SAME.get(char):
        return same
    category = unicodedata.category(char)
    if category[0] == "L":
        if latin := _latin(char):
            return latin
        try:
            return char.encode("cp1251").decode("latin-1")
        except UnicodeEncodeError:
            return UPPER if category == "Lu" else LOWER if category == "Ll" else CASELESS
    if category[0] == "M":
        return CASELESS
    if category == "Pd":
        return "-"
    if category in {"Zs", "Zl", "Zp"}:
        return "\n" if category != "Zs" else " "
    return OTHER


class _Table(dict[int, str]):
    """A translation table that fills itself: pure, at most one entry for each code point."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        value = char if code < 0x80 else _skeleton(char)
        self[code] = value
        return value


_TABLE = _Table()


def skeleton(text: str) -> bytes:
    """Return the skeleton of ``text``: one byte for each character, ASCII kept as it is."""
    if text.isascii():
        return text.encode("ascii")
    return text.translate(_TABLE).encode("latin-1")
