"""`pratique gc`: remove content that no admitted bundle needs."""

import click

from pratique.cli.context import Context, pass_context, print_json


@click.command(epilog="Example:  pratique gc --forget sample@0a1b2c3d")
@click.option("--forget", metavar="REF", multiple=True, help="Undo this admission first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, *, forget: tuple[str, ...], as_json: bool) -> None:
    """Remove what no admission reaches: leftovers, and models whose admission was undone.

    Waits until nobody is admitting or loading. A model that is being served keeps its open files.
    """
    from pratique.flows import recording
    from pratique.store import records, upkeep
    from pratique.store.cas import open_store

    store = open_store(context.home)
    for reference in forget:
        record = records.resolve(store, reference)
        with recording.recording(context.make_home()) as write:
            upkeep.forget(store, record, around=write.forgetting)
        context.err.print(f"forgot {record.label}", markup=False)
    done = upkeep.collect(store)
    if as_json:
        print_json("gc", {"trees": done.trees, "objects": done.objects, "bytes": done.size})
        return
    click.echo(f"removed {done.objects} files, {done.size} bytes")
