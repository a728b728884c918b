"""`pratique report`: what is known about a bundle, as a page."""

from datetime import UTC, datetime
from pathlib import Path

import click

from pratique.cli.bundle_place import PLACE
from pratique.cli.context import Context, pass_context
from pratique.cli.paths import NAME


@click.command(epilog="Example:  pratique report sample@0a1b2c3d.bundle -o sample.html")
@click.argument("bundle", type=NAME)
@click.option(
    "-o",
    "--output",
    type=PLACE,
    help="The page, or a folder for it: one that exists, or ends in / and is made  [LABEL.html].",
)
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@pass_context
def command(context: Context, *, bundle: str, output: Path | None, policy: str) -> None:
    """Write an HTML page about BUNDLE (a path, or an admitted model): findings, files, signatures.

    One file, no scripts, nothing fetched. It describes; `verify` proves.
    """
    from pratique.flows.describe import describe, report_of
    from pratique.flows.enclave_policy import enclave_policy
    from pratique.seal.staging import refuse_inside_bundle
    from pratique.store import disk

    found = describe(
        context.home, bundle, policy=enclave_policy(context.home, policy), now=datetime.now(UTC)
    )
    page = f"{found.document.label}.html"
    target = output or Path(page)
    if target.is_dir():
        target /= page
    refuse_inside_bundle(target.parent)
    with disk.storing(str(target)):
        disk.replace_file(target, report_of(found))
    click.echo(target)
