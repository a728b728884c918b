"""`pratique lock`: pin a recipe, or see what moved upstream since."""

from pathlib import Path
from typing import Unpack

import click

from pratique.cli.access_options import Access, access_options, tls_of
from pratique.cli.context import Context, pass_context, print_json

_PATH = click.Path(path_type=Path)


@click.command(epilog="Example:  pratique lock bundles/minilm.toml --check   See docs/fetch.md")
@click.argument("recipe", type=_PATH, metavar="RECIPE.toml")
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

    Large files are not downloaded: git proves their digests. With --check, compares the lock with
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
    with progress_bar(context) as progress:
        if not check:
            path = write_lock(read, make_lock(read, options, progress))
            moved: tuple[str, ...] = ()
        else:
            path = read.lock_path
            moved = check_lock(read, options, progress)
    if as_json:
        print_json("lock", {"lock": str(path), "moved": list(moved)})
    elif check:
        for line in moved:
            click.echo(line)
    else:
        click.echo(path)
    if moved:
        raise VerificationRefused(
            f"upstream is not what {path.name} says: {len(moved)} difference(s)",
            hint="review them, then run `pratique lock` to take them",
        )
