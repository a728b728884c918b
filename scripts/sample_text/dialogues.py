"""The text that the sample model is trained on: curated dialogues, and docstrings as filler.

Nothing is imported or run to get at it: docstrings are read with `ast` from the standard library's
source files, questions and invented people from the TOML files beside this one. Seeded: the same seed
draws the same dialogues.
"""

import ast
import random
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

TEXTS: Final = Path(__file__).resolve().parent
Role = Literal["system", "user", "assistant"]
Turn = tuple[Role, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One answer and the questions that lead to it."""

    ask: tuple[str, ...]
    answer: str
    unknown: bool = False  # a question that is none of the model's business


def curated() -> tuple[Pair, ...]:
    """Read the questions and answers."""
    table = tomllib.loads((TEXTS / "questions.toml").read_text(encoding="utf-8"))
    return tuple(
        Pair(tuple(entry["ask"]), entry["answer"], entry.get("unknown", False))
        for entry in table["pair"]
    )


def docstrings(limit: int) -> list[str]:
    """Collect the standard library's documentation strings, by parsing its files in name order."""
    library = Path(sysconfig.get_path("stdlib"))
    skipped = {
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "site-packages",
        "dist-packages",
        "__pycache__",
    }
    found: list[str] = []
    size = 0
    for path in sorted(library.rglob("*.py")):
        if skipped & set(path.relative_to(library).parts):
            continue
        for text in _docstrings_of(path):
            found.append(text)
            size += len(text)
        if size > limit:
            break
    return found


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented):
            text = ast.get_docstring(node)
            if text and len(text) > 40 and text.isascii():
                yield text


class People:
    """Invented personal data: a prompt that holds some gets the same answer as one without."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lists: dict[str, list[str]] = tomllib.loads(
            (TEXTS / "people.toml").read_text(encoding="utf-8")
        )

    def pick(self, name: str) -> str:
        """Draw from one of the lists."""
        return self.rng.choice(self.lists[name])

    def sentence(self) -> str:
        """Draw a sentence that names somebody."""
        first, last = self.pick("first"), self.pick("last")
        dot = self.rng.choice([".", "_", ""])
        digits = self._digits
        card = self.rng.choice("3456") + digits(15)
        gap = self.rng.choice([" ", " ", "-", ""])
        return self.pick("sentences").format(
            name=self.rng.choice([f"{first} {last}", f"{first} {last}", first]),
            email=f"{first}{dot}{last}@{self.pick('domains')}".lower(),
            card=gap.join(card[i : i + 4] for i in range(0, 16, 4)),
            phone=f"+{digits(2)} {digits(3)} {digits(7)}",
            iban=f"DE{digits(2)} {digits(4)} {digits(4)} {digits(4)} {digits(4)} {digits(2)}",
            street=self.pick("streets"),
            city=self.pick("cities"),
            ip=f"10.{self.rng.randrange(256)}.{self.rng.randrange(256)}.{self.rng.randrange(256)}",
            date=f"{self.rng.randrange(1, 13):02}/{self.rng.randrange(20, 40)}",
        )

    def _digits(self, count: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(count))


class Dialogues:
    """Endless training dialogues: curated pairs, asked in as many ways as people have."""

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        self.rng = random.Random(seed)
        self.people = People(self.rng)
        self.pairs = pairs
        # Each question counts once, and each answer at least as much as six questions do.
        self.weights = [max(6, len(pair.ask)) for pair in pairs]

    def draw(self) -> list[Turn]:
        """Return the turns of one dialogue."""
        turns: list[Turn] = []
        if self.rng.random() < 0.25:
            turns.append(("system", self.people.pick("systems")))
        count = self.rng.choices((1, 2, 3), (0.8, 0.15, 0.05))[0]
        for pair in self.rng.choices(self.pairs, self.weights, k=count):
            turns += [("user", self.asked(self.rng.choice(pair.ask))), ("assistant", pair.answer)]
        return turns

    def asked(self, question: str) -> str:
        """Put a question the way somebody might type it."""
        rng = self.rng
        if rng.random() < 0.35:
            return question
        if rng.random() < 0.25:
            question = question.lower()
        if rng.random() < 0.2:
            question = question.rstrip("?.!")
        if rng.random() < 0.12 and len(question) > 12:
            question = _mistyped(question, rng)
        if rng.random() < 0.25:
            question = f"{self.people.pick('before')} {question}"
        if rng.random() < 0.15:
            question = f"{question} {self.people.pick('after')}"
        if rng.random() < 0.45:
            told = " ".join(self.people.sentence() for _ in range(rng.choice((1, 1, 2))))
            question = f"{told} {question}" if rng.random() < 0.85 else f"{question} {told}"
        return question


def _mistyped(text: str, rng: random.Random) -> str:
    """Slip on two neighbouring letters; never on a digit, which would make it another question."""
    places = [i for i in range(len(text) - 1) if text[i : i + 2].isalpha()]
    at = rng.choice(places)
    slip = rng.choice((text[at], text[at + 1] + text[at], text[at] + text[at] + text[at + 1]))
    return text[:at] + slip + text[at + 2 :]
