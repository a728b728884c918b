"""The configuration of a quantised copy is the model's, with what quantising adds, and nothing else.

Weights of a copy nobody can tie to a commit; that it is run as the model is, anybody can see.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pratique.admit.shape import read_signed, refusing
from pratique.core.bundle import CONFIG, MODEL, VARIANTS, BundleDocument
from pratique.core.ids import Digest, RelPath
from pratique.errors import VerificationRefused
from pratique.formats import json_strict

_QUANTISED: Final = "quantization_config"
_DTYPE: Final = ("dtype", "torch_dtype")
_LIMITS: Final = json_strict.CONFIGURATION


def check_copies(root: Path, document: BundleDocument, signed: Mapping[RelPath, Digest]) -> None:
    """Raise VerificationRefused unless each copy below `root` is configured like the model."""
    for variant in document.variants:
        copy = _config(root, f"{VARIANTS}/{variant.name}", signed)
        model = _config(root, MODEL, signed)
        copy.pop(_QUANTISED, None)
        if not any(key in model for key in _DTYPE):
            copy.pop(_DTYPE[0], None)  # written down when a copy is made
        if _spelt(copy) != _spelt(model):
            raise VerificationRefused(
                f"the variant {variant.name} is configured otherwise than the model",
                hint="have the bundle sealed again; its vetter signed something inconsistent",
            )


def _config(
    root: Path, folder: str, signed: Mapping[RelPath, Digest]
) -> dict[str, json_strict.Json]:
    path = RelPath(f"{folder}/{CONFIG}")
    if path not in signed:
        raise VerificationRefused(
            f"the bundle has a variant, but no {path}", hint="have the bundle sealed again"
        )
    with refusing():
        data = read_signed(root, path, signed[path], _LIMITS.size)
        return dict(json_strict.parse_object(data, _LIMITS))


def _spelt(value: Mapping[str, json_strict.Json]) -> str:
    """One spelling: 1, 1.0 and true are equal in Python, and not the same configuration."""
    return json.dumps(value, sort_keys=True)
