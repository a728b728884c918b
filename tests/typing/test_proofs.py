"""What must not type-check: making, copying into shape, subclassing or changing a proof."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
from collections.abc import Mapping
from datetime import datetime
from pratique.attest.trustroot import TrustRoot
from pratique.attest.verify import VerifiedStatement, verify_signatures
from pratique.attest.values import Approval, SignedBy

def serve(statement: VerifiedStatement) -> None: ...

def use(signatures: Mapping[str, bytes], trust: TrustRoot, now: datetime) -> None:
"""
SNIPPETS = {
    "made from nothing": ("VerifiedStatement()", "call-arg"),
    "made from something": ("VerifiedStatement(signatures)", "arg-type"),
    "made from fields": ("VerifiedStatement(files={}, bundle_id='x')", "call-arg"),
    "a trust root from nothing": ("TrustRoot()", "call-arg"),
    "unverified bytes": ("serve(signatures['vetter.sig'])", "arg-type"),
    "a path": ("serve('/bundle')", "arg-type"),
    "nothing": ("serve(None)", "arg-type"),
    "a directory for a trust root": (
        "verify_signatures(signatures, trust='/trust', now=now)",
        "arg-type",
    ),
    "no trust": ("verify_signatures(signatures, now=now)", "call-arg"),
    "no time": ("verify_signatures(signatures, trust=trust)", "call-arg"),
    "a switch that turns it off": (
        "verify_signatures(signatures, trust=trust, now=now, skip=True)",
        "call-arg",
    ),
    "a subclass": ("class Mine(VerifiedStatement): ...", "misc"),
    "a trusted subclass": ("class Mine(TrustRoot): ...", "misc"),
    "files that change": (
        "verify_signatures(signatures, trust=trust, now=now).files['a'] = 'b'",
        "index",
    ),
    "a signature that says it counts": ("SignedBy('f').void = ''", "misc"),
}
GOOD = {
    "the only way": "serve(verify_signatures(signatures, trust=trust, now=now))",
    "reading": "print(verify_signatures(signatures, trust=trust, now=now).bundle_id)",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """One run of mypy over all snippets: file name -> its messages."""
    root = tmp_path_factory.mktemp("typing")
    for name, code in [*((n, c) for n, (c, _) in SNIPPETS.items()), *GOOD.items()]:
        (root / f"{name.replace(' ', '_')}.py").write_text(f"{HEAD}    {code}\n")
    files = sorted(str(p) for p in root.glob("*.py"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            *("--config-file", str(ROOT / "pyproject.toml"), *files),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "error" in done.stdout, done.stdout + done.stderr
    found = {}
    for line in done.stdout.splitlines():
        path, _, message = line.partition(":")
        found.setdefault(Path(path).stem, []).append(message)
    return found


@pytest.mark.parametrize("name", SNIPPETS)
def test_does_not_type_check(errors, name):
    messages = errors.get(name.replace(" ", "_"), [])
    assert any(f"[{SNIPPETS[name][1]}]" in m for m in messages), messages


@pytest.mark.parametrize("name", GOOD)
def test_type_checks(errors, name):
    assert name.replace(" ", "_") not in errors
