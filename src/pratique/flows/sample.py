"""Where the built-in sample model is: in the wheel, or in the checkout of an editable install."""

from importlib import resources
from pathlib import Path

from pratique.errors import UnreadableInput


def sample_directory() -> Path:
    """Return the sample's directory. Raises UnreadableInput if the installation lacks it."""
    packaged = Path(str(resources.files("pratique"))) / "_data" / "bundles" / "sample"
    checkout = Path(__file__).resolve().parents[3] / "bundles" / "sample"
    for directory in (packaged, checkout):
        if (directory / "model.safetensors").is_file():
            return directory
    raise UnreadableInput(
        "the sample model is not part of this installation", hint="install pratique again"
    )
