"""The same code paths on a CUDA device; skipped, with the reason, where there is none."""

import pytest
import torch

from pratique.core.load import LoadSpec
from pratique.core.rungs import Rung
from pratique.core.wire import Done, Generate, Sampling, Stop
from pratique.jobs.worker_batch import Batch, Model
from pratique.jobs.worker_engine import Engine
from pratique.jobs.worker_job import Job, admit
from pratique.jobs.worker_load import load
from pratique.jobs.worker_prompts import Prompts
from pratique.jobs.worker_sampling import Defaults
from tests.support import models
from tests.support.serving import files_of, limits_for

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


class Heard(list):
    """A channel that remembers."""

    def send(self, *messages: object) -> None:
        """Remember messages."""
        self.extend(messages)


@pytest.mark.parametrize("rung", [Rung.AUTO, Rung.DEVICE_MAP, Rung.INT8, Rung.NF4])
def test_every_rung_answers_on_a_gpu(tmp_path, rung):
    directory = models.write_llama(tmp_path / "tiny", dtype="BF16")
    limits = limits_for()
    spec = LoadSpec(
        model_dir=str(directory), files=files_of(directory), rung=rung, limits=limits,
        device="cuda:0",
    )  # fmt: skip
    loaded = load(spec, directory)
    heard = Heard()
    prompts = Prompts(loaded.tokenizer, context=limits.context, vocabulary=loaded.vocabulary)
    lanes = Batch(Model(loaded.model, loaded.device), limits.kv_tokens)
    engine = Engine(lanes, prompts, limits, heard, defaults=Defaults(), ends=frozenset())
    for at in range(3):
        request = Generate(
            id=at, tokens=(9, 8, 7 + at), max_tokens=5,
            sampling=Sampling(temperature=(0.0, 0.9, 0.7)[at], top_k=(0, 0, 5)[at], seed=at),
        )  # fmt: skip
        job = admit(request, prompts, limits)
        assert isinstance(job, Job)
        engine.inbox.put(job)
    engine.inbox.put(Stop())
    engine.run()
    assert sorted(done.id for done in heard if isinstance(done, Done)) == [0, 1, 2]
