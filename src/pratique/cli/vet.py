"""`pratique vet DIR`: judge any local model directory or snapshot; the answer is also the exit code."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import FILE, NAME, PATH, existing_path

if TYPE_CHECKING:
    from pratique.core.candidate import Candidate
    from pratique.core.findings import Verdict
    from pratique.core.policy import Policy

_STAGES = ("listing", "code-and-config", "headers", "tokenizer", "content")


@click.command(
    "vet", epilog="Example:  pratique vet ./my-model --format json --output verdict.json"
)
@click.argument("directory", metavar="DIR", type=PATH)
@click.option(
    "--policy",
    type=NAME,
    default="strict",
    show_default=True,
    help="Name of a built-in policy, or a .toml file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="How to write the findings.",
)
@click.option("--output", "-o", type=FILE, help="Write them to FILE.")
@click.option(
    "--stage",
    type=click.Choice(_STAGES),
    default="content",
    show_default=True,
    help="How far to look; only `content` is a decision about the whole.",
)
@click.option(
    "--reference",
    type=existing_path(file_okay=False),
    help="A base model's directory or bundle: the tokenizer may add to it, nothing else.",
)
@pass_context
def command(
    context: Context,
    directory: Path,
    *,
    policy: str,
    form: str,
    output: Path | None,
    stage: str,
    reference: Path | None,
) -> int:
    """Judge DIR: a model directory, a snapshot that `fetch` made, or a bundle's directory.

    Exit code 0: PASSED. 10: FAILED. 13: NEEDS_APPROVAL (somebody must answer for a finding).
    """
    from pratique.core.stages import Stage
    from pratique.formats.policy import load_policy
    from pratique.vet import judge

    rules = load_policy(policy)
    candidate = _candidate(directory)
    if reference is not None:
        candidate = replace(candidate, reference=_candidate(reference).root)
    chosen = Stage[stage.upper().replace("-", "_")]
    forbidden = [
        context.home / name for name in ("keys", "ledger") if (context.home / name).exists()
    ]
    # The child reads the repository; meanwhile this process reads what it needs to print and record.
    threading.Thread(target=_read_ahead, daemon=True).start()
    if not context.verbose:
        verdict = judge(candidate, rules, chosen, forbidden=forbidden)
    else:
        verdict = judge(
            candidate, rules, chosen, forbidden=forbidden,
            on_note=lambda note: click.echo(f"reading {note}", err=True),
        )  # fmt: skip
    _write(context, verdict, form, output)
    if chosen is Stage.CONTENT:
        _record(context, verdict, rules)
    return _exit_code(verdict)


def _read_ahead() -> None:
    import pratique.cli.verdict_table
    import pratique.flows.recording  # noqa: F401


def _record(context: Context, verdict: "Verdict", policy: "Policy") -> None:
    """Put the answer on the vetter's own ledger; looking goes on where that cannot be written."""
    from pratique.errors import PratiqueError
    from pratique.flows import recording

    try:
        with recording.recording(context.make_home()) as write:
            write(recording.vetting(verdict, policy))
    except (PratiqueError, OSError) as error:
        context.err.print(f"not recorded: {error}", style="yellow", markup=False)


def _candidate(directory: Path) -> "Candidate":
    """What DIR is: a snapshot (then its record is checked against the files), a bundle, or plain files."""
    from pratique.core.candidate import Candidate, Listed
    from pratique.core.foreign import FOREIGN, ForeignRoot
    from pratique.core.ids import parse_commit, parse_repo_id

    payload = directory / "payload"
    if (payload / "bundle.json").is_file():
        from pratique.flows.describe import claimed_source
        from pratique.store.quarantine import foreign_folders

        foreign = tuple(ForeignRoot(*found) for found in foreign_folders(payload / FOREIGN))
        source = claimed_source(directory)
        return Candidate(
            name=directory.resolve().name,
            root=payload / "model",
            repo=source.repo if source else None,
            commit=source.commit if source else None,
            foreign=foreign,
        )
    if not ((directory / "snapshot.json").is_file() and (directory / "model").is_dir()):
        return Candidate(directory.resolve().name, directory)
    from pratique.formats.calibration import read_calibration
    from pratique.store.quarantine import foreign_code, read_document

    document = read_document(directory)
    read_calibration(directory / "provenance")  # malformed: refused here, not first by `seal`
    return Candidate(
        name=document.name,
        root=directory / "model",
        repo=None if document.repo is None else parse_repo_id(document.repo),
        commit=None if document.commit is None else parse_commit(document.commit),
        listing=tuple(Listed(f.path, f.size, sha256=f.sha256) for f in document.files),
        foreign=tuple(ForeignRoot(c.pin, c.model_dir) for c in foreign_code(directory)),
    )


def _write(context: Context, verdict: "Verdict", form: str, output: Path | None) -> None:
    if form == "text" and output is None:
        from pratique.cli.verdict_table import print_verdict

        print_verdict(context.out, verdict)
        return
    text = _rendered(verdict, form)
    if output is None:
        click.echo(text, nl=False)
        return
    from pratique.errors import StorageError

    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot write {output}: {error.strerror}", hint="give a path that can be written"
        ) from error
    click.echo(str(output))


def _rendered(verdict: "Verdict", form: str) -> str:
    if form == "text":
        from io import StringIO

        from rich.console import Console

        from pratique.cli.verdict_table import print_verdict

        buffer = StringIO()
        print_verdict(Console(file=buffer, width=120, highlight=False), verdict)
        return buffer.getvalue()
    if form == "sarif":
        from pratique.evidence.sarif import sarif_json

        return sarif_json(verdict).decode()
    from pratique.evidence.verdict import verdict_json

    return verdict_json(verdict).decode()


def _exit_code(verdict: "Verdict") -> int:
    from pratique.core.findings import VerdictState
    from pratique.errors import ApprovalNeeded, VettingRefused

    match verdict.state:
        case VerdictState.PASSED:
            return 0
        case VerdictState.NEEDS_APPROVAL:
            return ApprovalNeeded.exit_code
        case VerdictState.FAILED:
            return VettingRefused.exit_code
