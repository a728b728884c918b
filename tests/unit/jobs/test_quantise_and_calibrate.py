"""Variants made in a child load again and answer; a calibration measures what it says."""

import json
import shutil

import pytest

from pratique.core.load import LoadSpec
from pratique.core.rungs import Rung
from pratique.core.variants import SETTINGS
from pratique.jobs import calibrate, quantise
from pratique.jobs.worker_load import load
from pratique.jobs.worker_refusal import LoadRefused
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
    assert quantise.run(request.model_dump_json().encode(), NOTHING) == b""
    assert [path.name for path in output.iterdir()] == ["model.safetensors"]
    first = files_of(output)[0].sha256
    again = request.model_copy(update={"output_dir": str(tmp_path / "again"), "threads": 2})
    (tmp_path / "again").mkdir()
    quantise.run(again.model_dump_json().encode(), NOTHING)
    assert files_of(tmp_path / "again")[0].sha256 == first
    for file in files_of(directory):
        if file.path not in {"config.json", "model.safetensors"}:
            shutil.copyfile(directory / file.path, output / file.path)
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] = SETTINGS[variant]
    (output / "config.json").write_text(json.dumps(config))
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


def request_for(directory, **changes):
    spec = LoadSpec(
        model_dir=str(directory), files=files_of(directory), rung=Rung.AUTO, limits=limits_for(),
        **changes,
    )  # fmt: skip
    return calibrate.CalibrateRequest(spec=spec).model_dump_json().encode()


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_a_calibration_measures_more_the_further_it_gets(tmp_path, architecture):
    directory = models.write_model(tmp_path / "tiny", architecture)
    figures = json.loads(calibrate.run(request_for(directory), NOTHING))
    assert 2**27 < figures["base"] <= figures["loaded"] <= figures["peak"]
    assert 0 < figures["context"] <= 256


def test_a_calibration_runs_no_code_of_the_model(tmp_path):
    canary = models.write_remote_code_repo(tmp_path / "own")
    with pytest.raises(LoadRefused):
        calibrate.run(request_for(tmp_path / "own"), NOTHING)
    with pytest.raises(LoadRefused, match="needs_remote_code"):
        calibrate.run(request_for(tmp_path / "own", remote_code=True), NOTHING)
    assert not canary.exists()
