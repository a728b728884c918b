"""`pratique lock`: pin a recipe, or see what moved upstream since."""

from pathlib import Path
from typing import Unpack

import click

from pratique.cli.access_options import Access, access_options, tls_of
from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import PATH


@click.command(epilog="Example:  pratique lock bundles/minilm.toml --check   See docs/fetch.md")
@click.argument("recipe", type=PATH, metavar="RECIPE.toml")
@click.option("--check", is_flag=True, help="Write nothing; exit 11 and say what moved upstream.")
@click.option("--endpoint", metavar="URL", help="Another Hub  [HF_ENDPOINT].")
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(
    context: Context,
    *,
    recipe: Path,
    check: bool,
    endpoint: str | None,
    as_json: bool,
    **access: Unpack[Access],
) -> None:
    """Pin RECIPE.toml to a commit and the digest of every file; prints the lock's path.

    What moved since the lock before is said on stderr, and is `moved` with --json. Large files are
    not downloaded: git proves their digests. With --check, compares the lock with
    what is upstream now, file by file.
    """
    from pratique.cli.progress_bar import progress_bar
    from pratique.errors import VerificationRefused
    from pratique.flows.building import check_lock, make_lock, write_lock
    from pratique.flows.fetching import FetchOptions
    from pratique.flows.recipe import read_recipe
    from pratique.formats.policy import load_policy

    read = read_recipe(recipe)
    options = FetchOptions(
        home=context.make_home(),
        policy=load_policy(read.policy),
        endpoint=endpoint,
        tls=tls_of(access),
        timeout=access["timeout"],
    )
    moved: tuple[str, ...] | None
    with progress_bar(context) as progress:
        if check:
            moved = check_lock(read, options, progress)
        else:
            moved = write_lock(read, make_lock(read, options, progress))
    path = read.lock_path
    if as_json:
        print_json("lock", {"lock": str(path), "moved": None if moved is None else list(moved)})
    elif check:
        for line in moved or ():
            click.echo(line)
    else:
        _say_moved(moved)
        click.echo(path)
    if check and moved:
        raise VerificationRefused(
            f"upstream is not what {path.name} says: {len(moved)} difference(s)",
            hint="review them, then run `pratique lock` to take them",
        )


def _say_moved(moved: tuple[str, ...] | None) -> None:
    """Tell people what a new lock took; the path alone goes to stdout."""
    if moved is None:
        click.echo("the lock before could not be read; review all of the new one", err=True)
    for line in moved or ():
        click.echo(line, err=True)
