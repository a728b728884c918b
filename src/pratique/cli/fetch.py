"""`pratique fetch`: pin a repository, refuse early, download verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pratique.cli.access_options import Access, access_options, tls_of
from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME, PATH

if TYPE_CHECKING:
    from pratique.core.snapshot import Snapshot
    from pratique.fetch.gating import GateRefused, GateWantsApproval


@click.command(
    epilog="Example:  pratique fetch sentence-transformers/all-MiniLM-L6-v2@main --without '*.bin'   "
    "See docs/fetch.md"
)
@click.argument("source", type=NAME, metavar="REPO[@REV]|DIR")
@click.option("--into", type=PATH, help="Make the snapshot here  [HOME/quarantine/ORG--NAME@SHA].")
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--endpoint", metavar="URL", help="Another Hub  [HF_ENDPOINT].")
@click.option("--only", multiple=True, metavar="PATTERN", help="Take only these files; repeatable.")
@click.option("--without", multiple=True, metavar="PATTERN", help="Leave these behind; repeatable.")
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(
    context: Context,
    *,
    source: str,
    into: Path | None,
    policy: str,
    endpoint: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    as_json: bool,
    **access: Unpack[Access],
) -> None:
    """Fetch a model into quarantine, pinned to a commit; prints the snapshot's path.

    SOURCE is ORG/NAME on a Hub, or a directory or cache snapshot written as a path (./DIR). The gate
    is asked before anything is paid for; a download that was cut goes on where it stopped.
    Tokens come from HF_TOKEN or `hf auth login`.
    """
    from pratique.cli.progress_bar import progress_bar
    from pratique.cli.verdict_text import verdict_printer
    from pratique.fetch.gating import GateRefused, GateWantsApproval
    from pratique.flows.fetching import FetchOptions, fetch
    from pratique.formats.policy import load_policy
    from pratique.vet import LocalGate

    rules = load_policy(policy)
    options = FetchOptions(
        home=context.make_home(),
        policy=rules,
        into=into,
        endpoint=endpoint,
        only=only,
        without=without,
        tls=tls_of(access),
        timeout=access["timeout"],
    )
    try:
        with progress_bar(context) as progress:
            snapshot = fetch(source, options, LocalGate(rules), progress)
    except (GateRefused, GateWantsApproval) as refused:
        verdict_printer(context)(refused.verdict)
        if as_json:
            print_json("fetch", _refusal(refused))
        raise
    root = snapshot.model_dir.parent
    if as_json:
        print_json("fetch", _facts(snapshot, root))
        return
    context.err.print(
        f"{snapshot.label}: {len(snapshot.manifest)} files, {snapshot.manifest.total_size:,} bytes, "
        f"proof {snapshot.proof.value}",
        markup=False,
    )
    click.echo(root)


def _facts(snapshot: "Snapshot", root: Path) -> dict[str, object]:
    return {
        "snapshot": str(root),
        "name": snapshot.name,
        "repo": snapshot.source.repo,
        "commit": snapshot.source.commit,
        "proof": snapshot.proof.value,
        "manifest": snapshot.manifest.digest,
        "files": len(snapshot.manifest),
        "size": snapshot.manifest.total_size,
    }


def _refusal(refused: "GateRefused | GateWantsApproval") -> dict[str, object]:
    return {
        "verdict": refused.verdict.state.value,
        "stage": refused.stage.name.lower(),
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity.value,
                "disposition": finding.disposition.value,
                "path": finding.path,
                "message": finding.message,
                "remediation": finding.remediation,
                "digest": finding.digest,
            }
            for finding in refused.verdict.findings
        ],
    }
