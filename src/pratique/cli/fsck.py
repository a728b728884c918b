"""`pratique fsck`: check the store against its own digests."""

import click

from pratique.cli.context import Context, pass_context, print_json


@click.command(epilog="Example:  pratique fsck")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, *, as_json: bool) -> None:
    """Hash everything in the store; name what is damaged, missing, extra or writable.

    Changes nothing. A damaged file heals when a bundle that has it is admitted again.
    """
    from pratique.cli.progress_bar import progress_bar
    from pratique.errors import VerificationRefused
    from pratique.store.cas import open_store
    from pratique.store.upkeep import check_store

    store = open_store(context.home)
    with progress_bar(context) as progress:
        problems = check_store(store, progress=progress)
    if as_json:
        print_json("fsck", {"problems": [{"where": p.where, "what": p.what} for p in problems]})
    else:
        for problem in problems:
            click.echo(f"{problem.where}: {problem.what}")
    if problems:
        raise VerificationRefused(
            f"the store has {len(problems)} problems",
            hint="admit the bundles named above again, then `pratique gc`",
        )
    context.err.print("the store is as it should be")
