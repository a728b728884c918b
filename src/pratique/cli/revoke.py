"""`pratique revoke`: stop a bundle, key, person or model file now."""

from datetime import UTC, datetime

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import NAME
from pratique.errors import PratiqueError, UnreadableInput, UsageError


@click.command(epilog="Example:  pratique revoke sample@0a1b2c3d --reason 'poisoned upstream'")
@click.argument("reference", type=NAME, required=False)
@click.option("--key", "key_id", metavar="ID", help="A key, by its id (64 hex digits).")
@click.option("--identity", metavar="NAME", help="A person, e-mail address or URI.")
@click.option("--model", metavar="SHA256", help="Every bundle that holds this file.")
@click.option("--reason", required=True, help="Why; shown at every refusal.")
@pass_context
def command(
    context: Context,
    *,
    reference: str | None,
    key_id: str | None,
    identity: str | None,
    model: str | None,
    reason: str,
) -> None:
    """Revoke an admitted bundle (REFERENCE or its whole id), a key, a person or a file. At once.

    Needs no key; holds in this home only, until the trust set says the same. Undoing it takes the
    trust set's threshold.
    """
    from pydantic import ValidationError

    from pratique.attest.install import revoke_now
    from pratique.attest.trustfile import Revocation
    from pratique.flows import recording

    given = [
        (kind, value)
        for kind, value in (
            ("bundle", reference),
            ("key", key_id),
            ("identity", identity),
            ("model", model),
        )
        if value is not None
    ]
    if len(given) != 1:
        raise UsageError(
            "revoke takes exactly one thing", hint="a reference, or --key, --identity or --model"
        )
    kind, value = given[0]
    target = _bundle_id(context, value) if kind == "bundle" else value
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        entry = Revocation.model_validate({"kind": kind, "id": target, "at": now, "reason": reason})
    except ValidationError as error:
        raise UsageError("the name or the reason is not plain text on one line") from error
    home = context.make_home()
    try:
        with recording.recording(home) as write:
            trust = revoke_now(home, entry, around=write.revoking(kind, target, reason))
    except PratiqueError:
        # A log that was tampered with, or a full disk, must not keep a model from being stopped.
        revoke_now(home, entry)
        context.err.print(
            f"revoked {kind} {target} all the same, but it is not on the record:", markup=False
        )
        raise
    context.err.print(f"revoked {kind} {target}: it is refused here from now on", markup=False)
    if kind in {"identity", "key"} and not trust.names(kind, target):
        context.err.print(
            f"warning: nobody in the installed trust has this {kind}: compare with "
            "`pratique trust status`",
            markup=False,
        )
    click.echo(target)


def _bundle_id(context: Context, reference: str) -> str:
    """The id of an admitted bundle, or a whole id as it is: what never came may be revoked too."""
    from pratique.core.ids import parse_bundle_id
    from pratique.errors import FormatError
    from pratique.store import records
    from pratique.store.cas import open_store

    try:
        return parse_bundle_id(reference)
    except FormatError:
        pass
    try:
        return records.resolve(open_store(context.home), reference).bundle_id
    except UnreadableInput as error:
        raise UnreadableInput(error.message, hint="give the whole bundle id, 64 digits") from error
