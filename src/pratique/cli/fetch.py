"""`pratique fetch`: pin a repository, refuse early, download verified."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.context import Context, pass_context, print_json

if TYPE_CHECKING:
    from pratique.core.snapshot import Snapshot
    from pratique.fetch.gating import GateRefused, GateWantsApproval

_PATH = click.Path(path_type=Path)
_LONGEST = 3600


class _Seconds(click.FloatRange):
    """`FloatRange` lets not-a-number through: it is neither too small nor too large."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        found: float = super().convert(value, param, ctx)
        return self.fail(f"{value} is not a number.", param, ctx) if isnan(found) else found


@click.command(
    epilog="Example:  pratique fetch sentence-transformers/all-MiniLM-L6-v2@main --without '*.bin'   "
    "See docs/fetch.md"
)
@click.argument("source", metavar="REPO[@REV]|DIR")
@click.option("--into", type=_PATH, help="Make the snapshot here  [HOME/quarantine/ORG--NAME@SHA].")
@click.option("--policy", "-p", default="strict", show_default=True, help="Name or file.")
@click.option("--endpoint", metavar="URL", help="Another Hub  [HF_ENDPOINT].")
@click.option("--only", multiple=True, metavar="PATTERN", help="Take only these files; repeatable.")
@click.option("--without", multiple=True, metavar="PATTERN", help="Leave these behind; repeatable.")
@click.option("--ca", type=_PATH, help="PEM file of your network's own CA  [SSL_CERT_FILE].")
@click.option("--cert", type=_PATH, help="PEM file of the client certificate for mutual TLS.")
@click.option("--cert-key", type=_PATH, help="Its private key, if it is in another file.")
@click.option(
    "--timeout", type=_Seconds(1, _LONGEST), default=60.0, show_default=True,
    help="Longest silence of the server, in seconds.",
)  # fmt: skip
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
    ca: Path | None,
    cert: Path | None,
    cert_key: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Fetch a model into quarantine, pinned to a commit; prints the snapshot's path.

    SOURCE is ORG/NAME on a Hub, or a directory or cache snapshot written as a path (./DIR). The gate
    is asked before anything is paid for; a download that was cut goes on where it stopped.
    Tokens come from HF_TOKEN or `hf auth login`.
    """
    from pratique.cli.progress_bar import progress_bar
    from pratique.cli.verdict_text import verdict_printer
    from pratique.fetch.gating import GateRefused, GateWantsApproval
    from pratique.fetch.session import Tls
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
        tls=Tls(ca, cert, cert_key),
        timeout=timeout,
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
