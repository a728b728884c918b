"""What `pratique trust` shows: a set being written, or a root installed, for people and as JSON."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, print_json
from pratique.errors import UsageError

if TYPE_CHECKING:
    from pratique.attest.repository import Repository
    from pratique.attest.trustfile import TrustFile
    from pratique.attest.trustroot import TrustRoot


def show_set(ctx: Context, repository: "Repository", *, as_json: bool, quiet: bool = False) -> None:
    """Show a set's directory: its people, its fingerprint, whose signatures are missing.

    `quiet` prints the path alone to stdout, as a command that made something does.
    """
    from pratique.attest.words import spell

    fingerprint = repository.fingerprint()
    trust = repository.trust()
    names = {i.subject: p.name for p in trust.people for i in p.identities}
    pending = [
        {
            "part": p.part,
            "missing": p.missing,
            "from": [names.get(c, f"key {c[:16]}") for c in p.candidates],
        }
        for p in repository.pending()
    ]
    if as_json:
        print_json(
            "trust",
            {
                "directory": str(repository.directory),
                "fingerprint": fingerprint,
                "words": spell(fingerprint),
                "complete": not pending,
                "pending": pending,
                **_people(trust),
            },
        )
        return
    say = ctx.err if quiet else ctx.out
    if not quiet:
        _print_people(ctx, trust)
    if not any(
        str(p["part"]).startswith("root") for p in pending
    ):  # more signatures change a root's bytes
        say.print(f"fingerprint  {spell(fingerprint)}", markup=False)
        say.print(f"             {fingerprint}", markup=False)
    for part in repository.pending():
        who = ", ".join(names.get(c, f"key {c[:16]}") for c in part.candidates)
        say.print(f"unsigned     {part.part}: {part.missing} more of {who}", markup=False)
    if not pending and not quiet:
        say.print("complete     it can be exported and installed", markup=False)
    if quiet:
        click.echo(str(repository.directory))


def show_root(ctx: Context, trust: "TrustRoot", *, as_json: bool, quiet: bool = False) -> None:
    """Show an installed root: whose it is, how old, who may sign, what is revoked."""
    from pratique.attest.trustroot import SERVING_GRACE
    from pratique.attest.words import spell
    from pratique.core.policy import TrustRules

    now = datetime.now(UTC)
    days = trust.age(now).days
    if as_json:
        print_json(
            "trust",
            {
                "source": trust.source,
                "fingerprint": trust.fingerprint,
                "words": spell(trust.fingerprint),
                "version": trust.version,
                "root_version": trust.root_version,
                "installed": trust.as_of.isoformat(),
                "age_days": days,
                "expires": trust.expires.isoformat(),
                "revocations": [r.model_dump(mode="json") for r in trust.revocations],
                "policies": sorted(trust.policies),
                **_people(trust.file),
            },
        )
        return
    say = ctx.err if quiet else ctx.out
    if not quiet:
        _print_people(ctx, trust.file)
        for entry in trust.revocations:
            say.print(
                f"revoked      {entry.kind} {entry.id} since {entry.at:%Y-%m-%d}: {entry.reason}",
                markup=False,
            )
    say.print(f"fingerprint  {spell(trust.fingerprint)}", markup=False)
    rules = TrustRules()
    until = trust.as_of + timedelta(days=rules.max_trust_age_days)
    say.print(
        f"admits until {until:%Y-%m-%d}, serves until {until + SERVING_GRACE:%Y-%m-%d}, "
        f"unless the policy's max_trust_age_days is not {rules.max_trust_age_days}",
        markup=False,
    )
    say.print(
        f"installed    {trust.as_of:%Y-%m-%d} ({days} days ago), version {trust.version}, "
        f"root {trust.root_version}; installable until {trust.expires:%Y-%m-%d}",
        markup=False,
    )


def ask_fingerprint(ctx: Context, newest: str) -> str | None:
    """Show the fingerprint of a first root and ask whether it is the right one."""
    from pratique.attest.words import spell

    if not sys.stdin.isatty():
        raise UsageError(
            "the first installation needs the root's fingerprint",
            hint=f'if the source says so too: --fingerprint "{spell(newest)}"',
        )
    ctx.err.print("The root of trust on this medium has the fingerprint", markup=False)
    ctx.err.print(f"    {spell(newest)}", markup=False)
    ctx.err.print("Let somebody at the source read theirs aloud, by another way.", markup=False)
    return newest if click.confirm("Are they the same?", err=True) else None


def _people(trust: "TrustFile") -> dict[str, object]:
    return {
        "enclave": trust.enclave,
        "issued": trust.issued.isoformat(),
        "single_person": trust.single_person,
        "roles": {
            str(role): {"threshold": rule.threshold, "holders": list(rule.holders)}
            for role, rule in trust.roles.items()
        },
        "people": [
            {"name": p.name, "credentials": [str(i) for i in p.identities]} for p in trust.people
        ],
    }


def _print_people(ctx: Context, trust: "TrustFile") -> None:
    ctx.out.print(f"enclave      {trust.enclave}", markup=False)
    for role, rule in trust.roles.items():
        holders = ", ".join(rule.holders) or "nobody"
        ctx.out.print(f"{role:<12} {rule.threshold} of: {holders}", markup=False)
    for person in trust.people:
        ctx.out.print(
            f"  {person.name:<10} {', '.join(str(i) for i in person.identities)}", markup=False
        )
    if trust.single_person:
        ctx.out.print("one person   no second signature is needed", markup=False)


def named_file(argument: str) -> tuple[str, bytes]:
    """Read `NAME=PATH` of a file for the set."""
    from pratique.errors import UnreadableInput

    name, sep, path = argument.partition("=")
    if not (sep and path):
        raise UsageError(f"{argument!r} is not NAME=PATH", hint="e.g. --file ca/root.pem=root.pem")
    try:
        return name, Path(path).read_bytes()
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error
