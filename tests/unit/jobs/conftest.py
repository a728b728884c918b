"""One tiny model per family, loaded once; an engine whose channel is a list."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import models


class Heard:
    """Stands for the channel: remembers what was sent."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send(self, *messages: Any) -> None:
        """Remember messages."""
        self.messages += messages

    def of(self, kind: type) -> list[Any]:
        """Return the messages of one kind."""
        return [message for message in self.messages if isinstance(message, kind)]


@pytest.fixture
def heard() -> Heard:
    """A channel that remembers."""
    return Heard()


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Load a tiny model of a family, once."""
    from pratique.core.load import Task
    from pratique.jobs.worker_load import load
    from tests.support.serving import files_of, limits_for

    found: dict[str, Any] = {}

    def of(architecture: str) -> Any:
        if architecture not in found:
            from pratique.core.load import LoadSpec
            from pratique.core.rungs import Rung

            directory: Path = tmp_path_factory.mktemp(architecture)
            models.write_model(directory, architecture)  # type: ignore[arg-type]
            spec = LoadSpec(
                model_dir=str(directory),
                files=files_of(directory),
                rung=Rung.AUTO,
                limits=limits_for(),
                task=Task.AUTO,
            )
            found[architecture] = (load(spec, directory), directory)
        return found[architecture]

    return of
