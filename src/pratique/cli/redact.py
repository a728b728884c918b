"""`pratique redact`: personal data and secrets out of text, stdin to stdout."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from pratique.cli.paths import FILE
from pratique.errors import FormatError, UnreadableInput

if TYPE_CHECKING:
    from pratique.redact import KeyRing, Redactor

_MAX_LINE = 16 << 20


@click.command("redact", epilog="Example:  pratique redact < letter.txt > letter.redacted.txt")
@click.option(
    "--jsonl", is_flag=True, help='Each line is {"text": …}; so is each line of the answer.'
)
@click.option("--spans", is_flag=True, help="With --jsonl: also where in the input, and what.")
@click.option(
    "--key-file",
    type=FILE,
    help="Keyed tokens: lines of 'kN BASE64', the last one current.",
)
@click.option("--gazetteer/--no-gazetteer", default=True, help="Know names from a list too.")
def command(*, jsonl: bool, spans: bool, key_file: Path | None, gazetteer: bool) -> None:
    """Take personal data and secrets out of text: stdin to stdout.

    What cannot be read in full is withheld in full.
    """
    from pratique.redact import Redactor

    if spans and not jsonl:
        raise click.UsageError("--spans needs --jsonl")
    redactor = Redactor(keys=_keys(key_file), gazetteer=gazetteer)
    source = sys.stdin.buffer
    if jsonl:
        _redact_lines(redactor, source, spans=spans)
    else:
        click.echo(_redact_text(redactor, source), nl=False)


def _keys(path: Path | None) -> "KeyRing | None":
    from pratique.redact import KeyRing

    if path is None:
        return None
    try:
        return KeyRing.parse(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableInput(
            f"the redaction key file {path} cannot be read", hint="give a file of 'kN BASE64' lines"
        ) from error


def _redact_text(redactor: "Redactor", source: BinaryIO) -> str:
    from pratique.redact import MAX_CHARS

    try:
        text = source.read(4 * MAX_CHARS + 1).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("the input is not UTF-8", hint="convert it to UTF-8 first") from error
    if len(text) > MAX_CHARS:
        raise FormatError(
            f"the input is longer than {MAX_CHARS} characters and was not read",
            hint="split it, or give each text as a line of --jsonl",
        )
    return redactor.redact(text).text


def _redact_lines(redactor: "Redactor", source: BinaryIO, *, spans: bool) -> None:
    number = 0
    while line := source.readline(_MAX_LINE + 1):
        number += 1
        if not line.strip():
            continue
        outcome = redactor.redact(_text_of(line, number))
        answer: dict[str, Any] = {"text": outcome.text}
        if spans:
            answer["spans"] = [
                {"start": s.start, "end": s.end, "type": str(s.type)} for s in outcome.spans
            ]
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _text_of(line: bytes, number: int) -> str:
    """Parse one line strictly; the message names its number and repeats nothing of it."""
    try:
        if len(line) > _MAX_LINE:
            raise ValueError
        value = json.loads(line.decode("utf-8"))
        if not isinstance(value, dict) or not isinstance(value.get("text"), str):
            raise TypeError
        text: str = value["text"]
        text.encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        raise FormatError(
            f'line {number} is not a JSON object with a "text" string',
            hint='each line must be {"text": "…"}; nothing of this line was written',
        ) from None
    return text
