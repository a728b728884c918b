"""One interpreter with the tests' own jobs for all of confine's tests."""

import sys

import pytest

from tests.support import confined


@pytest.fixture(scope="session")
def python_with_jobs(tmp_path_factory):
    return confined.interpreter(tmp_path_factory.mktemp("confine") / "venv")


@pytest.fixture(autouse=True)
def _jobs_of_the_tests(python_with_jobs, monkeypatch):
    monkeypatch.setattr(sys, "executable", python_with_jobs)
