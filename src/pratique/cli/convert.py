"""`pratique convert DIR`: allowed pickle weights to safetensors, in the lock, every tensor compared."""

from pathlib import Path

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME, PATH
from pratique.errors import UsageError


@click.command("convert", epilog="Example:  pratique convert ./old-model --policy team.toml")
@click.argument("directory", metavar="DIR", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="New directory  [default: DIR-safetensors].",
)
@click.option(
    "--policy", type=NAME, default="strict", show_default=True, help="Policy with the allowances."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was converted as JSON.")
@pass_context
def command(
    context: Context, directory: Path, *, output: Path | None, policy: str, as_json: bool
) -> None:
    """Copy DIR with safetensors in place of its torch weights; prints the new directory.

    Each torch file needs an allowance (check `torch-zip`, by digest) in the policy. Tar files,
    TorchScript and pickles that name more than tensors are never converted.
    """
    from pratique.core.candidate import Candidate
    from pratique.formats.policy import load_policy
    from pratique.vet.converting import convert

    root = directory / "model" if (directory / "snapshot.json").is_file() else directory
    name = directory.resolve().name
    beside = directory.resolve() if directory.name in {"", ".."} else directory
    if output is None and not beside.name:
        raise UsageError(f"{directory} has nothing beside it", hint="say where to with --output")
    out = output or beside.with_name(f"{name}-safetensors")
    converted = convert(Candidate(name, root), load_policy(policy), out)
    for item in converted:
        context.err.print(
            f"{item.source} → {item.target}: {len(item.tensors)} tensors, all compared"
        )
    if as_json:
        files = [
            {"source": c.source, "target": c.target, "sha256": c.output_sha256} for c in converted
        ]
        print_json("convert", {"directory": str(out), "files": files})
    else:
        click.echo(str(out))
