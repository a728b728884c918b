"""`pratique build`: fetch, vet and seal from a locked recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pratique.cli.access_options import Access, access_options, tls_of
from pratique.cli.bundle_place import BUNDLE_PLACE, BUNDLE_PLACE_HELP
from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import PATH

if TYPE_CHECKING:
    from pratique.core.findings import Verdict


@click.command(epilog="Example:  pratique build bundles/minilm.toml --key vetter.key -o out/")
@click.argument("recipe", type=PATH, metavar="RECIPE.toml")
@click.option("--key", type=PATH, help="The vetter's private key (`pratique keys new`).")
@click.option("--password-file", type=PATH, help="Holds the key's password, if it has one.")
@click.option("-o", "--output", type=BUNDLE_PLACE, help=BUNDLE_PLACE_HELP)
@click.option("--endpoint", metavar="URL", help="Another Hub  [HF_ENDPOINT].")
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(
    context: Context,
    *,
    recipe: Path,
    key: Path | None,
    password_file: Path | None,
    output: Path | None,
    endpoint: str | None,
    as_json: bool,
    **access: Unpack[Access],
) -> None:
    """Build the bundle that RECIPE.toml and its lock describe; prints the bundle's path.

    Nothing is taken that RECIPE.lock.json does not name with its digest.
    """
    from pratique.attest.keys import load_signer
    from pratique.cli.gate import local_gate
    from pratique.cli.key_password import password_prompt
    from pratique.cli.progress_bar import progress_bar
    from pratique.cli.verdict_text import verdict_printer
    from pratique.errors import SealError
    from pratique.fetch.gating import GateRefused, GateWantsApproval
    from pratique.flows import recording
    from pratique.flows.building import Build
    from pratique.flows.fetching import FetchOptions
    from pratique.flows.recipe import read_recipe
    from pratique.formats.policy import load_policy

    if key is None or not key.is_file():
        raise SealError(
            "no key was given" if key is None else f"there is no key {key}",
            hint="make one with `pratique keys new`, then --key FILE",
        )
    read = read_recipe(recipe)
    rules = load_policy(read.policy)
    options = FetchOptions(
        home=context.make_home(),
        policy=rules,
        endpoint=endpoint,
        tls=tls_of(access),
        timeout=access["timeout"],
    )
    build = Build(read, options, local_gate(context, rules), output)
    show = verdict_printer(context)
    try:
        with recording.recording(context.home) as write, progress_bar(context) as progress:

            def judged(verdict: "Verdict") -> None:
                show(verdict)
                write(recording.vetting(verdict, rules))

            bundle = build.run(
                lambda: load_signer(key, password_prompt(key, password_file)),
                on_verdict=judged,
                progress=progress,
                around=write.sealing,
            )
    except (GateRefused, GateWantsApproval) as refused:
        show(refused.verdict)
        raise
    approvals = read.recipe.approvals
    context.err.print(f"{bundle.label}: wants {approvals} approval(s)", markup=False)
    if as_json:
        print_json(
            "build",
            {
                "bundle": str(bundle.path),
                "bundle_id": bundle.bundle_id,
                "label": bundle.label,
                "approvals": approvals,
            },
        )
    else:
        click.echo(bundle.path)
