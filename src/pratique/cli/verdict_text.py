"""What the gate said, for a person who waits at the terminal for something else: the blocking part."""

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from pratique.cli.context import Context
from pratique.core.findings import Disposition, Finding, Verdict, VerdictState
from pratique.evidence.allowance import allowance_toml

_SHOWN = 20


def verdict_printer(context: Context) -> Callable[[Verdict], None]:
    """Return a function that prints a verdict's blocking findings on stderr, if there are any."""

    def show(verdict: Verdict) -> None:
        if verdict.state is VerdictState.PASSED and not context.verbose:
            return
        blocking = [finding for finding in verdict.findings if finding.blocks]
        console = context.err
        console.print(f"gate: [bold]{verdict.state.value}[/] under policy {verdict.policy.name}")
        for finding in blocking[:_SHOWN]:
            _show(context, finding)
        if len(blocking) > _SHOWN:
            console.print(f"  … and {len(blocking) - _SHOWN} more: see `pratique vet`")
        print_allowances(console, verdict)

    return show


def print_allowances(console: Console, verdict: Verdict) -> None:
    """Print the policy entries that would answer for all that stands in the way, if entries can."""
    if verdict.state is not VerdictState.NEEDS_APPROVAL:
        return
    asked = [f for f in verdict.findings if f.blocks and f.digest is not None]
    if asked:
        console.print(
            "\nTo answer for them, add to your policy (reason and owner are yours to fill in):"
        )
    for finding in asked:
        lines = allowance_toml(finding, verdict.subject).splitlines()
        console.print(Text("\n".join(plain(line) for line in lines)), soft_wrap=True)


def _show(context: Context, finding: Finding) -> None:
    colour = "red" if finding.disposition is Disposition.REFUSE else "yellow"
    where = f"{plain(finding.path)}: " if finding.path else ""
    context.err.print(
        f"  [{colour}]{finding.disposition.value}[/] {escape(finding.check)}  "
        f"{escape(where)}{escape(plain(finding.message))}"
    )
    if finding.remediation:
        context.err.print(f"          {escape(plain(finding.remediation))}")


def plain(text: str) -> str:
    """Foreign text must not move the cursor or start a line."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
