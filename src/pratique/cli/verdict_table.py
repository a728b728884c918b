"""A verdict for people: what decided first, grouped by check, each with its remedy. Plain in a pipe."""

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pratique.cli.verdict_text import plain, print_allowances
from pratique.core.findings import Disposition, Finding, Severity, Verdict, VerdictState

_PER_GROUP: Final = 12
_COLOURS: Final = {
    VerdictState.PASSED: "green",
    VerdictState.NEEDS_APPROVAL: "yellow",
    VerdictState.FAILED: "red",
}
_SEVERITIES: Final = tuple(Severity)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the verdict: blocking findings worst first, then what was allowed, then notes."""
    subject = verdict.subject
    console.print(
        Text.assemble(
            (verdict.state.value, f"bold {_COLOURS[verdict.state]}"),
            f"  {plain(subject.name)}  {subject.files} files, {subject.size:,} bytes",
        )
    )
    console.print(f"policy {plain(verdict.policy.name)}, digest {subject.digest}", style="dim")
    ordered = sorted(verdict.findings, key=_rank)
    for (label, colour, check), group in groupby(ordered, key=_heading):
        _print_group(console, f"{label}: {check}", colour, list(group))
    print_allowances(console, verdict)


def _rank(finding: Finding) -> tuple[int, int, str, str]:
    order = {Disposition.REFUSE: 0, Disposition.APPROVE: 1, Disposition.NOTE: 3}
    rank = order[finding.disposition]
    if finding.disposition is Disposition.APPROVE and finding.allowed_by is not None:
        rank = 2
    return (rank, _SEVERITIES.index(finding.severity), finding.check, finding.path)


def _heading(finding: Finding) -> tuple[str, str, str]:
    if finding.disposition is Disposition.REFUSE:
        return ("refused", "red", finding.check)
    if finding.disposition is Disposition.NOTE:
        return ("note", "dim", finding.check)
    if finding.allowed_by is not None:
        return ("allowed", "green", finding.check)
    return ("needs approval", "yellow", finding.check)


def _print_group(console: Console, title: str, colour: str, group: list[Finding]) -> None:
    console.print()
    console.print(Text(title, style=f"bold {colour}" if colour != "dim" else "dim"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(ratio=1, overflow="fold")
    table.add_column(ratio=3, overflow="fold")
    for finding in group[:_PER_GROUP]:
        message = plain(finding.message)
        if finding.allowed_by is not None:
            message += f" [allowed: {plain(finding.allowed_by)}]"
        table.add_row(Text("  " + (plain(finding.path) or "(repository)")), Text(message))
    console.print(table)
    if len(group) > _PER_GROUP:
        console.print(f"  … and {len(group) - _PER_GROUP} more")
    for remedy in _remedies(group):
        console.print(Text(f"  → {plain(remedy)}", style="italic"))


def _remedies(group: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(f.remediation for f in group if f.remediation))[:3]
