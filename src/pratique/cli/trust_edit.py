"""`pratique trust add`, `remove` and `revoke`: changes to what a set says."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import NAME
from pratique.cli.trust_options import (
    DIR_ARGUMENT,
    JSON_OPTION,
    KEYS_OPTION,
    PASSWORD_OPTION,
    load_signers,
    now,
    role_options,
)
from pratique.cli.trust_show import named_file, show_set
from pratique.errors import UsageError

if TYPE_CHECKING:
    from pratique.attest.trustfile import Revocations


@click.command("add")
@DIR_ARGUMENT
@role_options
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE=N", help="People needed.")
@click.option(
    "--email",
    "emails",
    multiple=True,
    metavar="ROLE:NAME=EMAIL",
    help="A holder known by certificates of the carried authorities.",
)
@click.option(
    "--sigstore",
    "accounts",
    multiple=True,
    metavar="ROLE:NAME=SUBJECT,ISSUER",
    help="A holder known by a Sigstore identity.",
)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="NAME=PATH",
    help="policies/N.toml, ca/N.pem, crl/N.crl, tsa/N.pem or trusted_root.json.",
)
@KEYS_OPTION
@PASSWORD_OPTION
@JSON_OPTION
@pass_context
def add(
    ctx: Context,
    directory: Path,
    *,
    vetters: Sequence[str],
    approvers: Sequence[str],
    runtimes: Sequence[str],
    thresholds: Sequence[str],
    emails: Sequence[str],
    accounts: Sequence[str],
    files: Sequence[str],
    keys: Sequence[Path],
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Let somebody sign, set a threshold, or put a file (policy, CA, CRL) into the set.

    Refused where too few different people would be left for a vetter and an approver.

    Example:  pratique trust add trust --approver dan.pub --threshold approver=2 --key bea.key
    """
    from pratique.attest import people
    from pratique.attest.trustfile import Person, read_trust, write_trust
    from pratique.attest.values import Role

    new = [
        (role, Person(name=name, keys=(pem.decode(),)))
        for role, given in (
            (Role.VETTER, vetters),
            (Role.APPROVER, approvers),
            (Role.RUNTIME, runtimes),
        )
        for name, pem in (people.read_named_key(a) for a in given)
    ]
    new += [people.certificate_holder(e) for e in emails]
    new += [people.sigstore_holder(a) for a in accounts]
    added = dict(named_file(f) for f in files)
    needed = [people.role_threshold(t) for t in thresholds]
    if not (new or added or needed):
        raise UsageError("nothing to add", hint="see `pratique trust add --help`")

    def edit(old: dict[str, bytes]) -> dict[str, bytes]:
        trust = read_trust(old["trust.toml"])
        for role, person in new:
            trust = people.with_holder(trust, role, person)
        for role, number in needed:
            trust = people.with_threshold(trust, role, number)
        if new or needed:
            people.enough_people(trust)
        return {**old, **added, "trust.toml": write_trust(trust)}

    _change(ctx, directory, edit, keys, password_file, as_json=as_json)


@click.command("remove")
@DIR_ARGUMENT
@click.option("--person", help="Whose name to remove.")
@click.option("--role", type=click.Choice(["vetter", "approver", "runtime"]), help="Only here.")
@click.option("--file", "file", help="A file of the set to remove.")
@KEYS_OPTION
@PASSWORD_OPTION
@JSON_OPTION
@pass_context
def remove(
    ctx: Context,
    directory: Path,
    *,
    person: str | None,
    role: str | None,
    file: str | None,
    keys: Sequence[Path],
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Take a person (or one of their roles) or a file out. Old signatures lose their force.

    Refused where too few different people would be left for a vetter and an approver.

    Example:  pratique trust remove trust --person ann --role vetter --key bea.key
    """
    from pratique.attest import people
    from pratique.attest.trustfile import read_trust, write_trust
    from pratique.attest.values import Role

    if (person is None) == (file is None):
        raise UsageError("say either --person or --file")
    if file in {"trust.toml", "revocations.json"}:
        raise UsageError(f"{file} cannot be removed", hint="change it instead")

    def edit(old: dict[str, bytes]) -> dict[str, bytes]:
        if file is not None:
            if file not in old:
                raise UsageError(f"the set has no file {file}", hint="see `trust status DIR`")
            return {n: d for n, d in old.items() if n != file}
        trust = read_trust(old["trust.toml"])
        changed = people.without_holder(trust, str(person), Role(role) if role else None)
        people.enough_people(changed)
        return {**old, "trust.toml": write_trust(changed)}

    _change(ctx, directory, edit, keys, password_file, as_json=as_json)


@click.command("revoke")
@DIR_ARGUMENT
@click.argument("kind", type=click.Choice(["bundle", "key", "identity", "model"]))
@click.argument("what", type=NAME, metavar="ID")
@click.option("--reason", required=True, help="Why, for everybody who meets the refusal.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Signatures timestamped before this (UTC) still stand  [now].",
)
@click.option("--lift", is_flag=True, help="Undo: of a set's revocation, or an emergency one.")
@click.option("--as-revoker", is_flag=True, help="Write the connected side's own list.")
@KEYS_OPTION
@PASSWORD_OPTION
@JSON_OPTION
@pass_context
def revoke(
    ctx: Context,
    directory: Path,
    *,
    kind: str,
    what: str,
    reason: str,
    since: datetime | None,
    lift: bool,
    as_revoker: bool,
    keys: Sequence[Path],
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Revoke a bundle, key, identity or model (by SHA-256) in the set at DIR.

    Inside the enclave `pratique revoke` stops something at once and needs no key.

    Example:  pratique trust revoke trust key KEY-ID --reason 'stolen laptop' --key bea.key
    """
    from pratique.attest.repository import Repository
    from pratique.attest.revoking import lifted, revocation, with_revocation
    from pratique.attest.trustfile import read_revocations, write_revocations

    when = since.replace(tzinfo=UTC) if since else now()
    entry = revocation(kind=kind, what=what, reason=reason, at=when)

    def apply(old: "Revocations") -> "Revocations":
        return lifted(old, entry) if lift else with_revocation(old, entry)

    repository = Repository(directory)
    if as_revoker:
        own = repository.connected()
        if own is None or lift:
            raise UsageError(
                "this set has no revoker, or the revoker tried to lift",
                hint="administrators revoke and lift without --as-revoker",
            )
        new = apply(read_revocations(own))
        repository.revoke_connected(new, load_signers(keys, password_file), now())
        show_set(ctx, repository, as_json=as_json, quiet=True)
        return

    def edit(old: dict[str, bytes]) -> dict[str, bytes]:
        changed = apply(read_revocations(old["revocations.json"]))
        return {**old, "revocations.json": write_revocations(changed)}

    _change(ctx, directory, edit, keys, password_file, as_json=as_json)


def _change(
    ctx: Context,
    directory: Path,
    edit: Callable[[dict[str, bytes]], dict[str, bytes]],
    keys: Sequence[Path],
    password_file: Path | None,
    *,
    as_json: bool,
) -> None:
    from pratique.attest.repository import Repository

    repository = Repository(directory)
    repository.change(edit, load_signers(keys, password_file), now())
    show_set(ctx, repository, as_json=as_json, quiet=True)
