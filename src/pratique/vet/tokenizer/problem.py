"""What a rule says of a tokenizer: always the token and the id, so that a person can look."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.ids import Digest, shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a rule saw in one form. `form` is the file it is about."""

    form: str
    message: str
    disposition: Disposition = Disposition.REFUSE
    severity: Severity = Severity.HIGH
    remedy: str = "take the tokenizer files again from the publisher, all from one commit"
    digest: Digest | None = None

    @property
    def refuses(self) -> bool:
        """Whether no policy can let it pass."""
        return self.disposition is Disposition.REFUSE


def note(form: str, message: str, remedy: str = "nothing to do") -> Problem:
    """Something worth knowing that ordinary tokenizers have too."""
    return Problem(form, message, Disposition.NOTE, Severity.INFO, remedy)


def tok(text: str, number: int | None = None) -> str:
    """Name a token for a message: quoted, escaped, with its id."""
    quoted = shown(text, 60)
    return quoted if number is None else f"{quoted} (id {number})"


def looks_special(text: str) -> bool:
    """Whether a token is written as publishers write markers: `<…>` or `[…]`, but no byte's `<0x0A>`."""
    if is_byte(text):
        return False
    return len(text) > 2 and (text[0], text[-1]) in {("<", ">"), ("[", "]")}


def is_byte(text: str) -> bool:
    """Whether this is how byte fallback spells one byte: `<0x00>` to `<0xFF>`."""
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def findings(check: str, problems: Iterable[Problem]) -> Iterator[Finding]:
    """Turn problems into findings of the check with this id."""
    for problem in problems:
        yield Finding(
            check,
            problem.severity,
            problem.disposition,
            problem.form,
            problem.message,
            problem.remedy,
            problem.digest,
        )
