"""`pratique diff`: what differs between two bundles or directories."""

from datetime import UTC, datetime

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME


@click.command(epilog="Example:  pratique diff old.bundle new.bundle")
@click.argument("before", type=NAME)
@click.argument("after", type=NAME)
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, *, before: str, after: str, policy: str, as_json: bool) -> None:
    """Compare the model files of two bundles, admitted models, snapshots or model directories.

    `+` added, `-` removed, `~` other bytes. Bundles are compared by their lists, directories by
    hashing them.
    """
    from pratique.cli.verdict_text import plain
    from pratique.flows.describe import difference, model_files
    from pratique.flows.enclave_policy import enclave_policy

    rules, now = enclave_policy(context.home, policy), datetime.now(UTC)
    old = model_files(context.home, before, policy=rules, now=now)
    new = model_files(context.home, after, policy=rules, now=now)
    found = difference(old, new)
    groups = (
        ("+", "added", found.added),
        ("-", "removed", found.removed),
        ("~", "changed", found.changed),
    )
    if as_json:
        print_json("diff", {name: [file.path for file in files] for _, name, files in groups})
        return
    for sign, _, files in groups:
        for file in files:
            click.echo(f"{sign} {plain(file.path)}")
    if not any(files for _, _, files in groups):
        context.err.print("the same files")
