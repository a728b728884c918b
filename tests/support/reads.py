"""Which files a command reads, and how many bytes of each, as the kernel saw it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

_READ = re.compile(r"^(?:read|readv|pread64|preadv)\(\d+<([^>]*)>.* = (\d+)$")


def bytes_read(folder: Path, *arguments: object) -> Counter[str]:
    """Run `pratique ARGUMENTS` under strace; return bytes read by path, children included.

    Pages that are mapped and not read do not count. `folder` is for strace's logs. Raises if the
    command fails.
    """
    if os.environ.get("PRATIQUE_NO_PTRACE"):
        pytest.skip("PRATIQUE_NO_PTRACE is set: what is read was NOT counted")
    if shutil.which("strace") is None:
        pytest.fail("strace is not installed, or set PRATIQUE_NO_PTRACE=1 to go without it")
    folder.mkdir()
    command = [
        *("strace", "-f", "-ff", "--seccomp-bpf", "-y", "-s0", "-o", str(folder / "log")),
        *("-e", "trace=read,readv,pread64,preadv"),
        *(sys.executable, "-m", "pratique.cli.main", *map(str, arguments)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    found: Counter[str] = Counter()
    for log in folder.iterdir():  # one for each thread: a line is never broken up by another's
        for line in log.read_text(errors="replace").splitlines():
            if match := _READ.match(line):
                found[match[1]] += int(match[2])
    assert found, "strace saw nothing"
    return found
