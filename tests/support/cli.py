"""Runs one command of the CLI in this process and captures what it says."""

import contextlib
import io

from pratique.cli.main import run


def run_cli(*args: str) -> tuple[int, str, str]:
    """Return (exit code, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(args))
    return code, out.getvalue(), err.getvalue()
