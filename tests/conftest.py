"""Shared by every test: `tests.support` can be imported, and no test touches the user's own home."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session", autouse=True)
def _a_home_for_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test runs without naming a home keeps its ledger here, not in the user's."""
    before = os.environ.get("PRATIQUE_HOME")
    os.environ["PRATIQUE_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["PRATIQUE_HOME"]
    else:
        os.environ["PRATIQUE_HOME"] = before


@pytest.fixture(autouse=True)
def _umask_stays() -> Iterator[None]:
    """A command that is run inside a test's process must not change what later tests create."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
