"""Measure what a model really needs to load, in a child: the part of a prediction that formulas miss.

Started by `confine.run_job` under the model profile. Reads the model, writes nothing, answers with a
`fit.Calibration` as JSON: resident size before, and at most while loading and generating one token.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from pratique.core.load import LoadSpec, Task
from pratique.fit.memory import Calibration
from pratique.jobs.worker_files import hold


class CalibrateRequest(BaseModel):
    """One attempt to measure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: LoadSpec


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Load and measure. Raises LoadRefused where the model does not load."""
    spec = CalibrateRequest.model_validate_json(request).spec
    note("checking the model's files")
    with hold(spec) as files:
        import torch
        import transformers  # noqa: F401 - its import is part of what every worker pays

        from pratique.jobs.worker_load import load
        from pratique.jobs.worker_memory import resident

        torch.set_num_threads(spec.limits.threads)
        base, _ = resident()
        note("loading")
        loaded = load(spec, files.directory)
        note("running one token")
        _one_token(loaded)
        _, peak = resident()
    return (
        Calibration(base=base, loaded=max(peak, base + 1), rung=spec.rung)
        .model_dump_json()
        .encode()
    )


def _one_token(loaded: Any) -> None:  # noqa: ANN401 - LoadedModel
    """Touch every weight once: a mapped file that nobody read is not resident."""
    import torch

    ids = torch.zeros((1, 2), dtype=torch.long, device=loaded.device)
    with torch.inference_mode():
        if loaded.task is Task.GENERATE:
            loaded.model(input_ids=ids, use_cache=False)
        else:
            loaded.model(input_ids=ids)
