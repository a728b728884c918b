"""What must not type-check: serving, sealing or admitting something that was not verified before."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
from datetime import datetime
from pathlib import Path
from pratique.admit.admitted import AdmittedBundle, VerifiedBundle
from pratique.admit.load import open_admitted
from pratique.attest.keys import Signer
from pratique.core.policy import Policy
from pratique.core.snapshot import Snapshot
from pratique.seal.seal import Sealing, seal
from pratique.store.content import StoredContent

def serve(bundle: AdmittedBundle) -> None: ...

def use(
    home: Path, policy: Policy, now: datetime, verified: VerifiedBundle, snapshot: Snapshot,
    sealing: Sealing, signer: Signer, content: StoredContent,
) -> None:
"""
SNIPPETS = {
    "an admission from nothing": ("AdmittedBundle()", "call-arg"),
    "an admission from a path": ("AdmittedBundle(home)", "arg-type"),
    "an admission from fields": ("AdmittedBundle(model_dir=home)", "call-arg"),
    "content from nothing": ("StoredContent()", "call-arg"),
    "a subclass": ("class Mine(AdmittedBundle): ...", "misc"),
    "serving a path": ("serve(home)", "arg-type"),
    "serving what was only verified": ("serve(verified)", "arg-type"),
    "serving stored bytes nobody signed": ("serve(content)", "arg-type"),
    "serving nothing": ("serve(None)", "arg-type"),
    "loading without a policy": ("open_admitted(home, 'x', now=now)", "call-arg"),
    "loading without a time": ("open_admitted(home, 'x', policy=policy)", "call-arg"),
    "a switch that turns it off": (
        "open_admitted(home, 'x', now=now, policy=policy, verify=False)",
        "call-arg",
    ),
    "sealing a snapshot": ("seal(snapshot, signer, home)", "arg-type"),
    "sealing without a signer": ("seal(sealing, None, home)", "arg-type"),
}
GOOD = {
    "the only way": "serve(open_admitted(home, 'x', now=now, policy=policy))",
    "sealing what was vetted": "print(seal(sealing, signer, home).bundle_id)",
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What mypy says of each snippet, in one run."""
    folder = tmp_path_factory.mktemp("typing")
    snippets = {**{k: v for k, (v, _) in SNIPPETS.items()}, **GOOD}
    for number, snippet in enumerate(snippets.values()):
        (folder / f"snippet_{number}.py").write_text(f"{HEAD}    {snippet}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    lines = done.stdout.splitlines()
    return {
        name: "\n".join(line for line in lines if f"snippet_{number}.py" in line)
        for number, name in enumerate(snippets)
    }


@pytest.mark.parametrize("name", SNIPPETS)
def test_is_refused(verdicts: dict[str, str], name: str) -> None:
    assert f"[{SNIPPETS[name][1]}]" in verdicts[name], verdicts[name]


@pytest.mark.parametrize("name", GOOD)
def test_is_accepted(verdicts: dict[str, str], name: str) -> None:
    assert verdicts[name] == ""
