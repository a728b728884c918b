"""Hostile code in a confined child, and hosts that lack something, for the tests of confine.

`interpreter` makes a small virtual environment whose `pratique.jobs` also has the tests' own jobs;
`hostile` runs Python text under a lock. `on_host` runs the probe on a host of a given kind, in a
process of its own: another user, a nested user namespace, user namespaces forbidden.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pratique
from pratique.confine import JobResult, Lock, run_job

JOBS = Path(__file__).with_name("jobs")
PACKAGES = Path(pytest.__file__).parent.parent
SOURCE = Path(pratique.__file__).parent.parent
HOST = Path(__file__).with_name("confined_host.py")
OTHER_UID = 4321


def interpreter(directory: Path, base: str = "") -> str:
    """A virtual environment in `directory` on the interpreter `base` (by default, this one)."""
    base = base or os.path.realpath(sys.executable)
    asked = "import sys; print('python%d.%d' % sys.version_info[:2])"
    version = subprocess.run([base, "-c", asked], capture_output=True, text=True, check=True).stdout
    packages = directory / "lib" / version.strip() / "site-packages"
    packages.mkdir(parents=True)
    (directory / "bin").mkdir()
    (directory / "bin" / "python").symlink_to(base)
    (directory / "pyvenv.cfg").write_text(f"home = {Path(base).parent}\n")
    lines = [str(SOURCE), str(PACKAGES), str(JOBS)]
    hook = f"import pratique.jobs; pratique.jobs.__path__.append({str(JOBS)!r})"
    (packages / "tests.pth").write_text("\n".join([*lines, hook, ""]))
    return str(directory / "bin" / "python")


def hostile(text: str, lock: Lock, **options: object) -> JobResult:
    """Runs Python text under `lock`; what it leaves in `out` comes back as JSON."""
    return run_job("pratique.jobs.hostile", text.encode(), lock, **options)


def readable_by_others() -> str | None:
    """A base interpreter that any user can run, or None."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3.11", "/usr/bin/python3"):
        if not Path(path).exists():
            continue
        drop = {} if os.geteuid() else {"user": OTHER_UID, "group": OTHER_UID, "extra_groups": []}
        try:
            done = subprocess.run([path, "-I", "-c", "import ctypes"], check=False, cwd="/", **drop)
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def user_namespaces() -> bool:
    """Whether this host lets the tests make one, to simulate others."""
    done = subprocess.run(
        [sys.executable, str(HOST), json.dumps({"only": "try"})], check=False, capture_output=True
    )
    return done.returncode == 0


def on_host(python: str, child_python: str, **kind: object) -> dict:
    """The probe's report on a host of a kind; see confined_host.py for the kinds."""
    order = json.dumps({"source": str(SOURCE), "python": child_python, **kind})
    done = subprocess.run(
        [python, "-I", "-B", str(HOST), order],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
