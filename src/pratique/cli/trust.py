"""`pratique trust`: who may sign. Sets are written outside or inside, carried, and installed once."""

from collections.abc import Sequence
from pathlib import Path

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import FOLDER, NAME
from pratique.cli.trust_edit import add, remove, revoke
from pratique.cli.trust_options import (
    ADMIN_THRESHOLD_OPTION,
    ADMINS_OPTION,
    DIR_ARGUMENT,
    JSON_OPTION,
    KEYS_OPTION,
    PASSWORD_OPTION,
    REVOKERS_OPTION,
    load_signers,
    now,
    role_options,
)
from pratique.cli.trust_show import ask_fingerprint, show_root, show_set
from pratique.errors import UsageError


@click.group()
def command() -> None:
    """Who may sign: make, change, carry and install trust roots.

    Example:  pratique trust init --solo trust --key me.key && pratique trust install trust
    """


for _change_command in (add, remove, revoke):
    command.add_command(_change_command)


@command.command("init")
@DIR_ARGUMENT
@click.option("--solo", is_flag=True, help="For one person: no second signature is needed.")
@click.option("--team", is_flag=True, help="For several people: vetters and approvers differ.")
@click.option("--enclave", default="enclave", show_default=True, help="Id of the enclave.")
@click.option(
    "--name", type=NAME, help="The one person's name (with --solo; else the key file's name)."
)
@role_options
@ADMINS_OPTION
@ADMIN_THRESHOLD_OPTION
@click.option(
    "--approvals", type=click.IntRange(1), default=1, show_default=True, help="Approvals needed."
)
@REVOKERS_OPTION
@KEYS_OPTION
@PASSWORD_OPTION
@JSON_OPTION
@pass_context
def init(
    ctx: Context,
    directory: Path,
    *,
    solo: bool,
    team: bool,
    enclave: str,
    name: str | None,
    vetters: Sequence[str],
    approvers: Sequence[str],
    runtimes: Sequence[str],
    admins: Sequence[str],
    admin_threshold: int | None,
    approvals: int,
    revokers: Sequence[str],
    keys: Sequence[Path],
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Make a trust root in DIR, for one person or for a team.

    Example:  pratique trust init --solo trust --key me.key

    A team: `pratique trust init --team trust --vetter ann.pub --approver bea.pub --admin bea.pub
    --key bea.key`
    """
    from pratique.attest import people
    from pratique.attest.admins import Admins
    from pratique.attest.repository import Repository
    from pratique.attest.values import Role

    if solo == team:
        raise UsageError("say --solo (one person) or --team (several)")
    when = now()
    signers = load_signers(keys, password_file)
    if solo:
        if len(signers) != 1 or vetters or approvers or admins:
            raise UsageError("--solo takes exactly one --key and nobody else")
        trust, owners = people.solo(
            name=name or keys[0].stem, enclave=enclave, signer=signers[0], now=when
        )
    else:
        holders = {
            Role.VETTER: [people.read_named_key(a) for a in vetters],
            Role.APPROVER: [people.read_named_key(a) for a in approvers],
            Role.RUNTIME: [people.read_named_key(a) for a in runtimes],
        }
        trust = people.team(
            enclave=enclave, holders=holders, thresholds={Role.APPROVER: approvals}, now=when
        )
        own = people.public_keys(people.read_named_key(a) for a in admins)
        if not own:
            raise UsageError("nobody may change this root", hint="say who with --admin FILE.pub")
        wanted = admin_threshold or min(2, len(own))
        delegated = people.public_keys(people.read_named_key(a) for a in revokers)
        owners = Admins(own, wanted, delegated)
    repository = Repository(directory)
    repository.init(trust, owners, signers, when)
    ctx.err.print(people.SOLO_PROTECTS if solo else people.TEAM_PROTECTS, markup=False)
    show_set(ctx, repository, as_json=as_json, quiet=True)


@command.command("sign")
@DIR_ARGUMENT
@click.option("--renew", is_flag=True, help="Make a new version first, with a new expiry.")
@KEYS_OPTION
@PASSWORD_OPTION
@JSON_OPTION
@pass_context
def sign(
    ctx: Context,
    directory: Path,
    *,
    renew: bool,
    keys: Sequence[Path],
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Add your signature to what still lacks it, and date the set once it is complete.

    Example:  pratique trust sign trust --key cy.key
    """
    from pratique.attest.repository import Repository

    signers = load_signers(keys, password_file)
    if not signers:
        raise UsageError("say with which key to sign", hint="--key FILE.key")
    repository = Repository(directory)
    if renew:
        repository.change(lambda files: files, signers, now())
    else:
        repository.sign(signers, now())
    show_set(ctx, repository, as_json=as_json, quiet=True)


@command.command("rotate")
@DIR_ARGUMENT
@ADMINS_OPTION
@ADMIN_THRESHOLD_OPTION
@REVOKERS_OPTION
@KEYS_OPTION
@PASSWORD_OPTION
@JSON_OPTION
@pass_context
def rotate(
    ctx: Context,
    directory: Path,
    *,
    admins: Sequence[str],
    admin_threshold: int | None,
    revokers: Sequence[str],
    keys: Sequence[Path],
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Name the administrators anew. Takes the old threshold's signatures and the new one's.

    Example:  pratique trust rotate trust --admin cy.pub --admin dan.pub --key bea.key --key cy.key
    """
    from pratique.attest import people
    from pratique.attest.admins import Admins
    from pratique.attest.repository import Repository

    own = people.public_keys(people.read_named_key(a) for a in admins)
    if not own:
        raise UsageError("say who the administrators are from now on", hint="--admin FILE.pub")
    delegated = people.public_keys(people.read_named_key(a) for a in revokers)
    repository = Repository(directory)
    repository.rotate(
        Admins(own, admin_threshold or min(2, len(own)), delegated),
        load_signers(keys, password_file),
        now(),
    )
    show_set(ctx, repository, as_json=as_json, quiet=True)


@command.command("export")
@DIR_ARGUMENT
@click.argument("to", type=FOLDER)
@JSON_OPTION
@pass_context
def export(ctx: Context, directory: Path, to: Path, *, as_json: bool) -> None:
    """Copy the complete set at DIR to a medium.

    Example:  pratique trust export trust /media/stick
    """
    from pratique.attest.repository import Repository

    Repository(directory).export(to)
    show_set(ctx, Repository(to), as_json=as_json, quiet=True)


@command.command("install")
@DIR_ARGUMENT
@click.option("--fingerprint", help="What the root must be: 64 hex digits or eight words.")
@JSON_OPTION
@pass_context
def install(ctx: Context, directory: Path, *, fingerprint: str | None, as_json: bool) -> None:
    """Pin the root the first time, by a fingerprint read aloud; later, update to a newer set.

    Example:  pratique trust install /media/stick --fingerprint 'EIGHT WORDS'
    """
    from pratique.attest.install import install as install_set
    from pratique.flows import recording

    def confirm(newest: str) -> str | None:
        return fingerprint or ask_fingerprint(ctx, newest)

    home = ctx.make_home()
    with recording.recording(home) as write:
        before = _version(home)
        trust = install_set(
            home, directory, now=now(), confirm=confirm, around=write.installing(before)
        )
    show_root(ctx, trust, as_json=as_json, quiet=True)
    if not as_json:
        click.echo(str(ctx.home / "trust"))


def _version(home: Path) -> int:
    """The installed set's version, 0 for none or one that cannot be read: then this is the cure."""
    from pratique.attest.install import installed_trust
    from pratique.errors import PratiqueError

    try:
        return installed_trust(home).version
    except PratiqueError:
        return 0


@command.command("status")
@click.argument("directory", metavar="[DIR]", required=False, type=FOLDER)
@JSON_OPTION
@pass_context
def status(ctx: Context, directory: Path | None, *, as_json: bool) -> None:
    """Show the installed trust, or the set at DIR: who may sign, how old, what is missing.

    Example:  pratique trust status trust
    """
    from pratique.attest.install import installed_trust
    from pratique.attest.repository import Repository

    if directory is None:
        show_root(ctx, installed_trust(ctx.home), as_json=as_json)
    else:
        show_set(ctx, Repository(directory), as_json=as_json)
