"""`pratique log`: read, check, prove and hand on the ledger of a home directory, or of any directory."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import FILE, FOLDER, NAME, existing_path
from pratique.errors import LedgerNotIntact, UnreadableInput, UsageError

if TYPE_CHECKING:
    from pratique.ledger.folder import Folder
    from pratique.ledger.note import Checkpoint, LogKey
    from pratique.ledger.record import Record
    from pratique.ledger.verify import Report

_MAX_COPY_BYTES = 16_384

_directory = click.option(
    "--ledger",
    type=FOLDER,
    help="The ledger's directory  [HOME/ledger].",
)


@click.group("log", epilog="Example:  pratique log verify")
def command() -> None:
    """The ledger: what was vetted, admitted, served and by whom, in a form nobody can rewrite."""


@command.command()
@_directory
@click.option(
    "--checkpoint",
    "elsewhere",
    multiple=True,
    type=existing_path(),
    help="A checkpoint kept elsewhere (a note, or typed in from paper), or a directory of them.",
)
@click.option(
    "--key", type=NAME, metavar="VKEY", help="The log's key, got by another way: NAME+KEYID+BASE64."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@pass_context
def verify(
    context: Context,
    ledger: Path | None,
    elsewhere: tuple[Path, ...],
    key: str | None,
    *,
    as_json: bool,
) -> None:
    """Say exactly whether the log is intact, edited, truncated, rewritten or forked.

    Against a checkpoint kept elsewhere this also finds what somebody did who holds the log's key.

    Example:  pratique log verify --checkpoint /mnt/witness
    """
    from pratique.ledger.note import LogKey
    from pratique.ledger.verify import verify as read

    # Read first: what is signed meanwhile is longer, never shorter.
    remembered = _remembered(context, ledger)
    report = read(
        _folder(context, ledger),
        key=LogKey.parse(key) if key else None,
        elsewhere=list(_notes(elsewhere)),
        remembered=remembered,
    )
    if as_json:
        print_json("log.verify", _report(report))
    else:
        click.echo(report.summary)
    if not report.stands:
        raise LedgerNotIntact(
            report.summary,
            hint="keep the files as they are: they are evidence; compare with your copies",
        )
    if not elsewhere and not as_json:
        context.err.print(
            "checked against its own checkpoints only; give one kept elsewhere with --checkpoint"
        )


@command.command()
@_directory
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First event.")
@click.option("--last", type=click.IntRange(min=1), help="Only the last N events.")
@click.option("--kind", multiple=True, help="Only events of this kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, as recorded.")
@pass_context
def show(
    context: Context,
    ledger: Path | None,
    first: int,
    last: int | None,
    kind: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Print events, oldest first. Follows the chain; `verify` checks the signatures.

    Example:  pratique log show --last 20
    """
    from collections import deque

    from pratique.ledger.events import KINDS

    if unknown := sorted(set(kind) - set(KINDS)):
        raise UsageError(
            f"there is no kind of event {unknown[0]!r}",
            hint=f"kinds are: {', '.join(sorted(KINDS))}",
        )
    found: Iterator[Record] = (
        record for record in _records(context, ledger, first) if not kind or record.kind in kind
    )
    for record in deque(found, maxlen=last) if last else found:
        click.echo(_ascii(dict(record.value)) if as_json else _line(record))


@command.command()
@_directory
@click.argument("number", type=click.IntRange(min=0))
@click.option("-o", "--output", type=FILE, help="Write here.")
@pass_context
def prove(context: Context, ledger: Path | None, number: int, output: Path | None) -> None:
    """Write the proof that event NUMBER is in the log.

    Anybody who has the log's key checks it with offline_verifier.py alone.

    Example:  pratique log prove 41 -o event-41.proof.json
    """
    from pratique.ledger.folder import write_new
    from pratique.ledger.proof import prove as make

    text = json.dumps(make(_folder(context, ledger), number), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        write_new(output, text.encode(), mode=0o644)
        click.echo(output)


@command.command()
@click.option("--paper", is_flag=True, help="With a check per line, for printing and typing in.")
@click.option("--key", "only_key", is_flag=True, help="Print the log's verification key instead.")
@click.option("--to", type=FOLDER, help="Copy it there.")
@click.option(
    "--as-it-is", is_flag=True, help="Print the newest there is; sign nothing, open nothing."
)
@_directory
@pass_context
def checkpoint(
    context: Context,
    ledger: Path | None,
    to: Path | None,
    *,
    paper: bool,
    only_key: bool,
    as_it_is: bool,
) -> None:
    """Seal what was written, and print the signed checkpoint to keep elsewhere.

    Example:  pratique log checkpoint --to /mnt/witness
    """
    from pratique.ledger.copies import DirectoryCopy, on_paper

    folder = _folder(context, ledger)
    key = folder.key()
    if only_key:
        click.echo(key.vkey())
        return
    note = _newest(folder, key) if as_it_is or ledger is not None else _seal(context)
    if to is not None:
        DirectoryCopy(to).keep(key.open(note).size, note)
    click.echo(on_paper(note) if paper else note.decode("utf-8"), nl=False)


@command.command()
@_directory
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First event.")
@click.option("-o", "--output", type=FILE, help="Write here.")
@pass_context
def export(context: Context, ledger: Path | None, first: int, output: Path | None) -> None:
    """Write events as OCSF 1.9 JSON lines for a SIEM: pure ASCII, one event per line.

    Example:  pratique log export --from 1000 -o since-1000.ocsf.jsonl
    """
    from pratique.errors import StorageError

    stream = sys.stdout
    try:
        if output is not None:
            stream = output.open("w", encoding="ascii")
        for record in _records(context, ledger, first):
            stream.write(_ascii(dict(record.value)) + "\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from error
    finally:
        if output is not None and stream is not sys.stdout:
            stream.close()
    if output is not None:
        click.echo(output)


def _remembered(context: Context, ledger: Path | None) -> "Checkpoint | None":
    """What the home's own signer signed last; None for a log that lies elsewhere."""
    from pratique.ledger.signer import last_signed

    if ledger is not None:
        return None
    last = last_signed(context.home / "keys" / "ledger.key")
    if last is not None and not (context.home / "ledger" / "log.vkey").exists():
        raise LedgerNotIntact(
            f"the log is gone, or has lost log.vkey: its key has signed {last.size} events",
            hint="put it back; without it nothing shows what was done here",
        )
    return last


def _folder(context: Context, ledger: Path | None) -> "Folder":
    from pratique.ledger.folder import Folder

    return Folder(ledger if ledger is not None else context.home / "ledger")


def _records(context: Context, ledger: Path | None, first: int) -> "Iterator[Record]":
    from pratique.ledger.record import Chain
    from pratique.ledger.verify import records

    folder = _folder(context, ledger)
    key = folder.key()
    return iter(records(folder, Chain(key.name, key.key_id.hex()), first=first))


def _seal(context: Context) -> bytes:
    from pratique.ledger.home import open_ledger

    with open_ledger(context.home) as log:
        return log.checkpoint()


def _newest(folder: "Folder", key: "LogKey") -> bytes:
    sizes = folder.checkpoint_sizes()
    if not sizes:
        raise LedgerNotIntact("the log has no checkpoint", hint="run `pratique log verify`")
    folder.open_checkpoint(sizes[-1], key)
    return folder.note(sizes[-1])


def _notes(paths: tuple[Path, ...]) -> Iterator[bytes]:
    """The checkpoints at the paths given: notes, printed ones typed in again, directories of both."""
    from pratique.errors import StorageError
    from pratique.ledger.copies import from_paper

    for path in paths:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                with file.open("rb") as stream:
                    data = stream.read(_MAX_COPY_BYTES + 1)
                yield from_paper(data.decode("utf-8")) if b" | " in data[:16] else data
            except (OSError, UnicodeDecodeError, StorageError) as error:
                words = error.message if isinstance(error, StorageError) else "it cannot be read"
                raise UnreadableInput(f"checkpoint {file}: {words}") from error


def _report(report: "Report") -> dict[str, object]:
    return {
        "state": report.state.value,
        "summary": report.summary,
        "at": report.at,
        "first": report.first,
        "events": report.events,
        "sealed": report.sealed,
        "torn_bytes": report.torn,
        "checkpoints": report.checkpoints,
        "checkpoints_elsewhere": report.elsewhere,
    }


def _line(record: "Record") -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.time_ms / 1000))
    words = []
    for name, value in record.fields.items():
        text = _ascii(value) if isinstance(value, dict | list) else str(value)
        short = text[:12] + "…" if len(text) == 64 and text.isalnum() else text
        words.append(f"{name}={_ascii(short) if ' ' in short else short}")
    return f"{record.number:>6}  {moment}  {record.kind:<14}  {' '.join(words)}"


def _ascii(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
