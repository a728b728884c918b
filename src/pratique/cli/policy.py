"""`pratique policy`: check a policy file, print the schema, explain a check."""

import json
from pathlib import Path

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME


@click.group("policy", epilog="Example:  pratique policy check team.toml")
def command() -> None:
    """Check, print and explain policies."""


@command.command("check")
@click.argument("policy", type=NAME)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@pass_context
def check(context: Context, policy: str, *, as_json: bool) -> None:
    """Read POLICY (a name or a .toml file); errors come with line numbers (exit code 3).

    Example:  pratique policy check team.toml
    """
    from datetime import UTC, datetime

    from pratique.errors import PolicyError
    from pratique.formats.policy import load_policy
    from pratique.vet.registry import CHECKS

    rules = load_policy(policy)
    known = {item.id for item in CHECKS}
    unknown = sorted({entry.check for entry in rules.allow} - known)
    if unknown:
        raise PolicyError(
            f"{policy}: allows the unknown check {unknown[0]!r}",
            hint="the ids of all checks are in docs/checks.md",
        )
    today = datetime.now(UTC).date()
    expired = [entry for entry in rules.allow if entry.expires < today]
    for entry in expired:
        context.err.print(
            f"note: the allowance for {entry.check} ({entry.owner}) expired on {entry.expires}"
        )
    if as_json:
        print_json(
            "policy",
            {
                "name": rules.name,
                "digest": rules.digest,
                "allowances": len(rules.allow),
                "expired": len(expired),
            },
        )
    else:
        click.echo(f"{rules.name} {rules.digest}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of policy files, for editors.

    Example:  pratique policy schema > policy.schema.json
    """
    from pratique.formats.policy import policy_schema

    click.echo(json.dumps(policy_schema(), indent=2))


@command.command("explain")
@click.argument("check_id", metavar="CHECK")
def explain(check_id: str) -> None:
    """Print the documentation of one check: what, why, examples, how to fix or allow.

    Example:  pratique policy explain remote-code
    """
    from pratique.errors import UsageError

    sections = _sections()
    if check_id not in sections:
        raise UsageError(
            f"there is no check {check_id!r}", hint=f"the checks are: {', '.join(sorted(sections))}"
        )
    click.echo(sections[check_id])


def _sections() -> dict[str, str]:
    from pratique.formats.policy import data_folder

    text = _read(data_folder("docs"))
    found: dict[str, str] = {}
    for part in text.split("\n## ")[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = f"{name.strip()}\n{body.rstrip()}"
    return found


def _read(folder: object) -> str:
    text: str = (Path(str(folder)) / "checks.md").read_text(encoding="utf-8")
    return text
