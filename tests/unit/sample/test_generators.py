"""The generators of test models: loadable, small, reproducible; the hostile ones do what they say."""

import json
import pickle
import zipfile

import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tests.support import model_tokenizers, models


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_transformers_loads_every_tensor_and_runs(tmp_path, architecture):
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    path = models.write_model(tmp_path / architecture, architecture, dtype="BF16")
    auto = AutoModel if architecture == "bert" else AutoModelForCausalLM
    model, info = auto.from_pretrained(path, output_loading_info=True, dtype="auto")
    assert not any(info.values()), info
    assert next(model.parameters()).dtype is torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(path)
    batch = tokenizer("Hello, courier!", return_tensors="pt")
    output = model(**batch)
    states = output.last_hidden_state if architecture == "bert" else output.logits
    assert torch.isfinite(states).all()


@pytest.mark.parametrize(
    "write", [models.write_sharded, models.write_tied, models.write_padded, models.write_llama]
)
def test_every_layout_loads_whole(tmp_path, write):
    from transformers import AutoModelForCausalLM

    _, info = AutoModelForCausalLM.from_pretrained(
        write(tmp_path / "model"), output_loading_info=True
    )
    assert not any(info.values()), info


def test_gemma_slides_and_deepseek_routes(tmp_path):
    gemma = json.loads(
        (models.write_model(tmp_path / "g", "gemma3") / "config.json").read_text(encoding="utf-8")
    )
    assert "sliding_attention" in gemma["layer_types"]
    deepseek = load_file(models.write_model(tmp_path / "d", "deepseek_v3") / "model.safetensors")
    assert any(".experts." in name for name in deepseek)
    assert any("kv_a_proj_with_mqa" in name for name in deepseek)


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    first, second = (models.write_sharded(tmp_path / name) for name in "ab")
    other = models.write_sharded(tmp_path / "c", seed=1)
    files = sorted(p.name for p in first.iterdir())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)
    weights = "model-00001-of-00003.safetensors"
    assert (first / weights).read_bytes() != (other / weights).read_bytes()


def test_the_index_names_every_tensor_where_it_lies(tmp_path):
    path = models.write_sharded(tmp_path / "model")
    index = json.loads((path / "model.safetensors.index.json").read_text(encoding="utf-8"))
    held = {
        (name, shard.name)
        for shard in path.glob("model-*.safetensors")
        for name in load_file(shard)
    }
    assert held == set(index["weight_map"].items())


@pytest.mark.parametrize("kind", ["byte_bpe", "fallback_bpe"])
def test_byte_tokenizers_round_trip_any_text(tmp_path, kind):
    models.write_tokenizer(tmp_path, kind)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("Hello, courier!", "Grüße <0x41> 日本語 🚢", "tab\tand\nnewline"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("kind", model_tokenizers.VOCABULARIES)
def test_tokenizer_ids_fit_the_count_returned(tmp_path, kind):
    ids = models.write_tokenizer(tmp_path, kind)
    vocab = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab()
    assert sorted(vocab.values()) == list(range(ids))


@pytest.mark.parametrize("container", ["zip", "raw"])
def test_the_pickle_would_leave_its_canary(tmp_path, container):
    path = tmp_path / "pytorch_model.bin"
    canary = models.write_pickle_bin(path, container=container)
    assert not canary.exists()
    if container == "zip":
        with zipfile.ZipFile(path) as archive:
            data = archive.read("archive/data.pkl")
    else:
        data = path.read_bytes()
    pickle.loads(data).close()
    assert canary.exists()


def test_the_remote_code_would_run_if_it_were_trusted(tmp_path):
    canary = models.write_remote_code_repo(tmp_path / "repo")
    config = json.loads((tmp_path / "repo" / "config.json").read_text(encoding="utf-8"))
    module = config["auto_map"]["AutoModelForCausalLM"].split(".")[0]
    code = (tmp_path / "repo" / f"{module}.py").read_text(encoding="utf-8")
    assert str(canary) in code
    assert not canary.exists()
    compile(code, module, "exec")


def test_flip_byte_changes_one_bit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    models.flip_byte(path, 1)
    assert path.read_bytes() == b"acc"
    models.flip_byte(path)
    assert path.read_bytes() == b"acb"
