"""`pratique list`: what has been admitted, and whether it could be served now."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME
from pratique.core.bundle import VARIANTS
from pratique.core.variants import NOT_PROVED
from pratique.errors import PratiqueError, UnreadableInput

if TYPE_CHECKING:
    from pratique.core.policy import Policy
    from pratique.store.cas import Store
    from pratique.store.records import AdmissionRecord


@click.command(epilog="Example:  pratique list --json")
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, *, policy: str, as_json: bool) -> None:
    """List admitted bundles: names, commit, size, and whether signatures and approvals hold today.

    Looks at signatures, approvals and revocations, not at the models' bytes.
    """
    from pratique.flows.enclave_policy import enclave_policy
    from pratique.store.cas import open_store

    try:
        store = open_store(context.home)
    except UnreadableInput:
        rows = []
    else:
        rows = _rows(context, store, enclave_policy(context.home, policy))
    if as_json:
        print_json("list", {"admitted": rows})
        return
    _table(context, rows)


def _rows(context: Context, store: "Store", policy: "Policy") -> list[dict[str, object]]:
    from pratique.store import records

    names: dict[str, list[str]] = {}
    for alias in records.aliases(store):
        names.setdefault(alias.bundle_id, []).append(alias.name)
    rows: list[dict[str, object]] = []
    for record in records.admissions(store):
        state, until, variants = _state(context, store, record, policy)
        rows.append(
            {
                "names": names.get(record.bundle_id, []),
                "label": record.label,
                "bundle_id": record.bundle_id,
                "repo": record.repo,
                "commit": record.commit,
                "size": record.size,
                "admitted_at": record.admitted_at,
                "state": state,
                "until": until,
                "converted": variants,
            }
        )
    return rows


def _state(
    context: Context, store: "Store", record: "AdmissionRecord", policy: "Policy"
) -> tuple[str, str | None, list[str]]:
    """Whether it may be served, until when, and the converted copies that it carries."""
    from pratique.admit.load import check_signatures
    from pratique.attest.install import installed_trust

    try:
        statement = check_signatures(
            store,
            record,
            trust=installed_trust(context.home),
            policy=policy,
            now=datetime.now(UTC),
        )
    except PratiqueError as error:
        return f"refused: {error.message}", None, []
    until = statement.expires.date().isoformat() if statement.expires else None
    variants = {path.split("/")[1] for path in statement.files if path.startswith(f"{VARIANTS}/")}
    return "ok", until, sorted(variants)


def _table(context: Context, rows: list[dict[str, object]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        context.err.print(f"nothing is admitted in {context.home}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("NAME", "BUNDLE", "MIB", "ADMITTED", "UNTIL", "STATE"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        names, size = row["names"], row["size"]
        table.add_row(
            Text(", ".join(names) if isinstance(names, list) else ""),
            Text(f"{row['label']} {str(row['bundle_id'])[:12]}"),
            Text(f"{size / 2**20:.1f}" if isinstance(size, int) else ""),
            Text(str(row["admitted_at"])[:10]),
            Text(str(row["until"] or "")),
            Text(str(row["state"])),
        )
    context.out.print(table)
    for row in rows:
        if row["converted"]:
            names = (
                ", ".join(map(str, row["converted"])) if isinstance(row["converted"], list) else ""
            )
            words = f"{row['label']} carries {names}: {NOT_PROVED}"
            context.out.print(words, markup=False, soft_wrap=True)
