"""`pratique seal`: vet again, then sign a self-contained bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.bundle_place import BUNDLE_PLACE, BUNDLE_PLACE_HELP
from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME, PATH
from pratique.cli.signing import Signing, signing_options
from pratique.core.variants import VARIANT_NAMES

if TYPE_CHECKING:
    from pratique.core.findings import Verdict
    from pratique.core.variants import VariantName


@click.command(
    epilog="Example:  pratique seal ~/.local/share/pratique/quarantine/ORG--NAME@SHA --key vetter.key"
)
@click.argument("snapshot", type=PATH)
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@signing_options
@click.option("-o", "--output", type=BUNDLE_PLACE, help=BUNDLE_PLACE_HELP)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(VARIANT_NAMES),
    help="Carry a quantised copy too; may be given again.",
)
@click.option("--check", type=PATH, help="Rebuild this bundle and compare; signs nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(
    context: Context,
    *,
    snapshot: Path,
    policy: str,
    signing: Signing,
    output: Path | None,
    variants: tuple["VariantName", ...],
    check: Path | None,
    as_json: bool,
) -> None:
    """Vet SNAPSHOT again and seal it into a signed bundle; prints the bundle's path.

    SNAPSHOT is what `fetch` made, or a bare model directory. Vetting, the commit proof and every
    digest are done again on the bytes that are copied; a file that changed meanwhile is refused.
    A --variant is made in a confined child, vetted too, and signed as "converted, not commit-proved".
    """
    from pratique.cli.gate import local_gate
    from pratique.cli.progress_bar import progress_bar
    from pratique.cli.verdict_text import verdict_printer
    from pratique.flows import recording
    from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
    from pratique.formats.policy import load_policy

    rules = load_policy(policy)
    request = SealRequest(snapshot, rules, output, variants)
    gate, show = local_gate(context, rules), verdict_printer(context)
    if check is not None:
        with progress_bar(context) as progress:
            document = check_reproducible(request, check, gate, on_verdict=show, progress=progress)
        context.err.print(f"{document.label}: sealing this snapshot gives the same bytes")
        if as_json:
            print_json("seal", {"bundle": str(check), "label": document.label, "same": True})
        return
    signing.check()
    with recording.recording(context.make_home()) as write, progress_bar(context) as progress:

        def judged(verdict: "Verdict") -> None:
            show(verdict)
            write(recording.vetting(verdict, rules))

        bundle = vet_and_seal(
            request,
            gate,
            # Asked for only after the gate has answered: no key in memory while hostile bytes are read.
            signing.open,
            on_verdict=judged,
            progress=progress,
            around=write.sealing,
        )
    if as_json:
        print_json(
            "seal",
            {"bundle": str(bundle.path), "bundle_id": bundle.bundle_id, "label": bundle.label},
        )
    else:
        click.echo(bundle.path)
