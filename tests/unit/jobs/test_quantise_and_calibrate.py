"""Variants made in a child load again and answer; a calibration measures what it says."""

import json

import pytest

from pratique.core.load import LoadSpec
from pratique.core.rungs import Rung
from pratique.fit import Calibration
from pratique.jobs import calibrate, quantise
from pratique.jobs.worker_files import LoadRefused
from pratique.jobs.worker_load import load
from tests.support import models
from tests.support.serving import files_of, limits_for

NOTHING = lambda _: None  # noqa: E731


@pytest.fixture
def directory(tmp_path):
    return models.write_llama(tmp_path / "tiny", dtype="BF16")


@pytest.mark.parametrize("variant", ["nf4", "int8"])
def test_a_variant_loads_as_a_rung_of_its_own(directory, tmp_path, variant):
    output = tmp_path / variant
    output.mkdir()
    request = quantise.QuantiseRequest(
        model_dir=str(directory), files=files_of(directory), variant=variant, output_dir=str(output)
    )
    answer = json.loads(quantise.run(request.model_dump_json().encode(), NOTHING))
    made = {file["path"]: file["sha256"] for file in answer["files"]}
    assert {file.path: file.sha256 for file in files_of(output)} == made
    assert (output / "tokenizer.json").read_bytes() == (directory / "tokenizer.json").read_bytes()
    assert {"torch", "bitsandbytes"} <= set(answer["tools"])
    rung = Rung(f"variant:{variant}")
    spec = LoadSpec(model_dir=str(output), files=files_of(output), rung=rung, limits=limits_for())
    loaded = load(spec, output)
    assert loaded.config.quantization_config
    import torch

    with torch.inference_mode():
        logits = loaded.model(torch.tensor([[5, 6, 7]])).logits
    assert torch.isfinite(logits).all()


def test_changed_bytes_are_not_converted(directory, tmp_path):
    files = files_of(directory)
    models.flip_byte(directory / "model.safetensors")
    output = tmp_path / "out"
    output.mkdir()
    request = quantise.QuantiseRequest(
        model_dir=str(directory), files=files, variant="nf4", output_dir=str(output)
    )
    with pytest.raises(LoadRefused):
        quantise.run(request.model_dump_json().encode(), NOTHING)
    assert not list(output.iterdir())


def test_a_calibration_is_above_its_base(directory):
    spec = LoadSpec(
        model_dir=str(directory), files=files_of(directory), rung=Rung.AUTO, limits=limits_for()
    )
    request = calibrate.CalibrateRequest(spec=spec)
    answer = calibrate.run(request.model_dump_json().encode(), NOTHING)
    measured = Calibration.model_validate_json(answer)
    assert measured.loaded > measured.base > 2**27
