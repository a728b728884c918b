"""Unicode hazards in added tokens: text that looks like something else, or like nothing.

These rules belong on *added* tokens only: real vocabularies hold zero-width joiners, right-to-left
text and tag characters, and must. Source: Unicode TR 36 and TR 39 (confusables), UTS 51.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from pratique.formats.tokenizer import AddedToken
from pratique.vet.tokenizer.problem import Problem, tok

_PLAIN_CONTROLS: Final = frozenset("\t\n\r\x0b\x0c")
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Letters of other scripts that print like a Latin one: the part of TR 39's table that role markers
# are forged with. NFKC folds the full-width and mathematical ones.
_IMITATIONS: Final = {
    "a": "аαɑ", "b": "ьЬ", "c": "сϲ", "d": "ԁ", "e": "еε", "g": "ɡ", "h": "һ", "i": "іιı",
    "j": "ј", "k": "кκ", "l": "ӏ", "m": "м", "n": "ո", "o": "оοо", "p": "рρ", "q": "ԛ", "s": "ѕ",
    "t": "тτ", "u": "υս", "v": "ѵν", "w": "ԝ", "x": "хχ", "y": "уγ", "A": "ΑА", "B": "ΒВ", "C": "С",
    "E": "ΕЕ", "H": "ΗН", "I": "ΙІ", "J": "Ј", "K": "ΚК", "M": "ΜМ", "N": "Ν", "O": "ΟО", "P": "ΡР",
    "S": "Ѕ", "T": "ΤТ", "X": "ΧХ", "Y": "Υ", "Z": "Ζ", "|": "ǀ∣│❘⏐︱", "<": "〈‹❬⟨˂", ">": "〉›❭⟩˃",
    "_": "‗", "/": "∕⁄", ":": "ː∶", "-": "‐‑‒–—−",
}  # fmt: skip
# Letters, fillers and selectors that print as nothing, although Unicode does not call them format.
_BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\uffa0")
_LOOKALIKES: Final = {ord(c): latin for latin, others in _IMITATIONS.items() for c in others}


def problems_in_added(form: str, added: Sequence[AddedToken]) -> Iterator[Problem]:
    """Yield each added token whose text hides or imitates something."""
    by_skeleton: dict[str, AddedToken] = {}
    for token in added:
        reason = _hidden(token.content)
        if reason is not None:
            yield Problem(form, f"added token {tok(token.content, token.id)} {reason}")
            continue
        key = skeleton(token.content)
        twin = by_skeleton.setdefault(key, token)
        if twin.content != token.content and key.strip():
            yield Problem(
                form,
                f"added token {tok(token.content, token.id)} looks like {tok(twin.content, twin.id)}",
            )


def _hidden(text: str) -> str | None:
    for char in text:
        code = ord(char)
        if char in _BIDI:
            return f"holds the bidi control U+{code:04X}"
        if 0xE0000 <= code <= 0xE007F:
            return f"holds the tag character U+{code:04X}"
        category = unicodedata.category(char)
        if category == "Cc" and char not in _PLAIN_CONTROLS:
            return f"holds the control character U+{code:04X}"
        if category in {"Cf", "Cs", "Zl", "Zp"} or char in _BLANKS:
            return f"holds the invisible character U+{code:04X}"
    return None


def skeleton(text: str) -> str:
    """Map text to what it looks like. White space runs are kept: they are tokens of their own.

    Marks on Latin text and white space around a word are dropped: a reader sees past them.
    """
    folded = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES)
    plain = "".join(
        c for c in unicodedata.normalize("NFD", folded) if not "\u0300" <= c <= "\u036f"
    ).strip()
    if text.startswith("<") and plain:
        return plain
    return folded if folded.strip() else text
