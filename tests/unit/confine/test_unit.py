"""The shipped service unit is the second full lock: what it is promised to have, it has."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "packaging" / "pratique-serve.service"


@pytest.mark.parametrize(
    "line",
    [
        "PrivateNetwork=yes",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "PrivateIPC=yes",
        "LimitCORE=0",
    ],
)
def test_the_unit_has(line):
    assert line in UNIT.read_text().splitlines()


def test_the_unit_leaves_the_lock_its_own_calls():
    """A filter of system calls, or one of namespaces, would take away what the child closes."""
    text = UNIT.read_text()
    assert "SystemCallFilter" not in text
    assert "RestrictNamespaces" not in text


def test_systemd_understands_it():
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("no systemd here")
    done = subprocess.run(
        [analyse, "verify", "--man=no", str(UNIT)], capture_output=True, text=True, check=False
    )
    assert "Unknown" not in done.stderr, done.stderr
