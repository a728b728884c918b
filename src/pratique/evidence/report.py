"""A report for people: one HTML page, self-contained, without scripts, links or anything fetched.

Every value is foreign text until escaped; the page forbids scripts and requests by itself too
(Content-Security-Policy). The page states what was found; it proves nothing, and says so.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pratique.core.findings import Finding, Verdict
from pratique.core.manifest import FileEntry

Rows = Sequence[Sequence[str]]

_CSP: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.5rem; border-bottom: 1px solid #8884; }
td.mono { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.state { font-weight: 600; padding: 0.1rem 0.5rem; border: 1px solid; border-radius: 0.3rem; }
footer { margin-top: 3rem; font-size: 0.85rem; opacity: 0.75; }
"""
_FOOTER: Final = (
    "<footer>This page describes; it proves nothing. The proof is <code>pratique verify</code> "
    "with the trust root of your own enclave.</footer>"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows. `facts` and `later` are (name, value) rows.

    `later` is what came after sealing (bundle id, signatures, approvals) and may be empty.
    `tokenizers` are those of `evidence/tokenizer.json`.
    """

    title: str
    facts: Rows
    files: Sequence[FileEntry]
    verdict: Verdict | None = None
    verdict_rows: Rows = ()
    state: str = ""
    later: Rows = ()
    approvals: Rows = field(default=())
    tokenizers: Sequence[Mapping[str, Any]] = ()


def html_report(report: Report) -> bytes:
    """Return the page, UTF-8. The same input gives the same bytes."""
    state = report.verdict.state.value if report.verdict else report.state
    findings = _finding_rows(report.verdict.findings) if report.verdict else report.verdict_rows
    parts = [
        f"<h1>{_text(report.title)} <span class=state>{_text(state)}</span></h1>",
        _section("What it is", ("", ""), report.facts),
        _section("Signatures and custody", ("", ""), report.later),
        _section("Approvals", ("who", "until", "where", "rungs", "why"), report.approvals),
        *(
            _section(f"Tokenizer {one['folder']}".rstrip(), ("", ""), _tokenizer_rows(one))
            for one in report.tokenizers
        ),
        _section("Findings", ("check", "disposition", "file", "what", "answered by"), findings)
        or "<h2>Findings</h2><p>None.</p>",
        _section(
            f"Files ({len(report.files)})",
            ("path", "bytes", "SHA-256"),
            [(f.path, f"{f.size}", f.sha256) for f in report.files],
        ),
        _FOOTER,
    ]
    return _page(report.title, "\n".join(part for part in parts if part)).encode()


def _finding_rows(findings: Iterable[Finding]) -> Rows:
    return [(f.check, f.disposition.value, f.path, f.message, f.allowed_by or "") for f in findings]


def _tokenizer_rows(one: Mapping[str, Any]) -> Rows:
    roles = [f"{role}: {token['token']} = {token['id']}" for role, token in one["roles"].items()]
    return [
        ("family", one["family"]),
        ("tokens", f"{one['tokens']}, highest id {one['highest_id']}, {one['merges']} merges"),
        ("special tokens", f"{one['special_tokens_total']} ({'; '.join(sorted(roles))})"),
        ("forms", ", ".join(one["forms"])),
        ("compared with the first", ", ".join(one["compared"]) or "no other form"),
        *((f"template {t['name']}", t["sha256"]) for t in one["chat_templates"]),
        ("fingerprint", one["fingerprint"]),
    ]


def _section(title: str, heads: Sequence[str], rows: Rows) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_text(h)}</th>" for h in heads) if any(heads) else ""
    body = "\n".join(
        "<tr>" + "".join(f"<td class=mono>{_text(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<h2>{_text(title)}</h2>\n<table>\n<tr>{head}</tr>\n{body}\n</table>"


def _text(value: str) -> str:
    """Escape foreign text; what cannot be seen is written out."""
    visible = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value)
    return html.escape(visible, quote=True)


def _page(title: str, body: str) -> str:
    return (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )
