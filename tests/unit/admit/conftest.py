"""Unit tests do not wait for the disk: durability has tests of its own (test_bundle_faults)."""

import os
from collections.abc import Iterator

import pytest

from pratique.store import disk


@pytest.fixture(autouse=True)
def no_flushing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Flush nothing, except where a test is about flushing."""
    if "flush" in request.node.name:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "flush_filesystem", lambda path: None)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
