"""Small random models, and hostile look-alikes, written in milliseconds without torch or network.

The rule: a well-formed directory from here is loaded by transformers without one missing, unexpected
or mismatched tensor (tests/unit/sample/test_generators.py holds it to that), and the same arguments
give the same bytes. Weights are random: these models load and run, they do not speak.

Use `write_model(directory, "llama")` and friends for the good ones. The hostile makers leave
something that would create a *canary* file if anybody executed it; a test then asserts that the
canary is absent.
"""

import functools
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tests.support.model_tokenizers import Vocabulary, write_json, write_tokenizer

Architecture = Literal["llama", "qwen3", "gemma3", "deepseek_v3", "bert"]
Dtype = Literal["F32", "F16", "BF16"]
Shape = tuple[int, ...]
Tensors = Mapping[str, NDArray[Any]]

ARCHITECTURES: Final[tuple[Architecture, ...]] = (
    "llama",
    "qwen3",
    "gemma3",
    "deepseek_v3",
    "bert",
)

CARD: Final = (
    "---\nlicense: apache-2.0\nlanguage:\n- en\n---\n# A small random model\n\nMade for tests.\n"
)

# --- the good ones ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sizes:
    """Shapes that all architectures share. Powers of two, so that every rung can quantise them."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    intermediate: int = 128
    context: int = 256


def write_model(
    directory: Path,
    architecture: Architecture = "llama",
    *,
    sizes: Sizes | None = None,
    dtype: Dtype = "F32",
    seed: int = 0,
    shards: int = 1,
    tied: bool | None = None,
    padded_rows: int = 0,
    vocabulary: Vocabulary | None = None,
    card: bool = True,
) -> Path:
    """Write a whole loadable repository into `directory` (made if absent) and return it.

    Args:
        architecture: which family; `gemma3` has sliding-window layers, `deepseek_v3` MLA and MoE.
        sizes: the shapes; the default is about 0.1 million parameters, 300-500 KB in F32.
        dtype: how weights are stored, and what config.json says.
        shards: with more than one, `model-0000I-of-0000N.safetensors` and an index.
        tied: share input and output embeddings (default: as the family usually does).
        padded_rows: embedding rows beyond the tokenizer's ids, as real models have.
        vocabulary: the kind of tokenizer (default: the family's).
        card: write a README.md with a licence.
    """
    directory.mkdir(parents=True, exist_ok=True)
    family = _FAMILIES[architecture]
    sizes = sizes or Sizes()
    ids = write_tokenizer(directory, vocabulary or family.vocabulary)
    config = {
        **family.config(sizes),
        "vocab_size": ids + padded_rows,
        "tie_word_embeddings": family.tied if tied is None else tied,
        "dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype],
        "transformers_version": "5.23.0",
    }
    write_json(directory / "config.json", config)
    rng = np.random.default_rng(seed)
    tensors = {
        name: _random(rng, name, shape, architecture) for name, shape in family.shapes(config)
    }
    write_weights(directory, tensors, dtype=dtype, shards=shards)
    if architecture != "bert":
        write_json(
            directory / "generation_config.json",
            {"eos_token_id": 1, "pad_token_id": 0, "transformers_version": "5.23.0"},
        )
    if card:
        (directory / "README.md").write_text(CARD, encoding="utf-8")
    return directory


def write_weights(
    directory: Path, tensors: Tensors, *, dtype: Dtype = "F32", shards: int = 1
) -> list[Path]:
    """Write tensors as `model.safetensors`, or as `shards` files with their index."""
    if shards == 1:
        path = directory / "model.safetensors"
        write_safetensors(path, tensors, dtype=dtype)
        return [path]
    names = list(tensors)
    groups = [names[i::shards] for i in range(shards)]
    paths, weight_map = [], {}
    for number, group in enumerate(groups, start=1):
        path = directory / f"model-{number:05d}-of-{shards:05d}.safetensors"
        write_safetensors(path, {name: tensors[name] for name in group}, dtype=dtype)
        weight_map.update(dict.fromkeys(group, path.name))
        paths.append(path)
    parameters = sum(array.size for array in tensors.values())
    metadata = {
        "total_parameters": parameters,
        "total_size": parameters * (4 if dtype == "F32" else 2),
    }
    write_json(
        directory / "model.safetensors.index.json",
        {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))},
    )
    return paths


def write_safetensors(
    path: Path,
    tensors: Tensors,
    *,
    dtype: Dtype = "F32",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a canonical safetensors file: names sorted, no holes, header padded to 8 bytes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": "pt"})}
    blobs, offset = [], 0
    for name in sorted(tensors):
        blob = _encode(tensors[name], dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    path.write_bytes(safetensors_bytes(header, b"".join(blobs)))


def safetensors_bytes(header: Mapping[str, Any], body: bytes) -> bytes:
    """Frame any header and body as safetensors does: also for tests that need a broken header."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def write_llama(directory: Path, *, seed: int = 0, dtype: Dtype = "F32") -> Path:
    """Write the plainest chat model there is."""
    return write_model(directory, "llama", seed=seed, dtype=dtype)


def write_sharded(directory: Path, *, shards: int = 3, seed: int = 0) -> Path:
    """Write a llama in `shards` files with an index."""
    return write_model(directory, "llama", shards=shards, seed=seed)


def write_tied(directory: Path, *, seed: int = 0) -> Path:
    """Write a llama whose output embedding is its input embedding (no `lm_head.weight`)."""
    return write_model(directory, "llama", tied=True, seed=seed)


def write_padded(directory: Path, *, rows: int = 64, seed: int = 0) -> Path:
    """Write a llama with `rows` embedding rows that no token has."""
    return write_model(directory, "llama", padded_rows=rows, seed=seed)


def write_bert(directory: Path, *, seed: int = 0) -> Path:
    """Write an encoder for embeddings, with WordPiece and vocab.txt."""
    return write_model(directory, "bert", seed=seed)


def _encode(array: NDArray[Any], dtype: Dtype) -> bytes:
    if dtype == "BF16":  # numpy has no bfloat16: keep the upper half of the float32
        return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return array.astype("<f4" if dtype == "F32" else "<f2").tobytes()


def _random(
    rng: np.random.Generator, name: str, shape: Shape, architecture: Architecture
) -> NDArray[Any]:
    if "norm" in name.lower() and name.endswith("weight"):
        # Gemma's norms store the distance from one.
        return np.full(shape, 0.0 if architecture == "gemma3" else 1.0, dtype=np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, dtype=np.float32)
    return (rng.standard_normal(shape) * 0.05).astype(np.float32)


# --- families: config.json and the tensors that go with it -----------------------------------


def _decoder_config(sizes: Sizes, kind: str, cls: str) -> dict[str, Any]:
    return {
        "architectures": [cls],
        "model_type": kind,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "max_position_embeddings": sizes.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-06,
        "attention_bias": False,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }


def _llama_config(sizes: Sizes) -> dict[str, Any]:
    return {**_decoder_config(sizes, "llama", "LlamaForCausalLM"), "mlp_bias": False}


def _qwen3_config(sizes: Sizes) -> dict[str, Any]:
    return _decoder_config(sizes, "qwen3", "Qwen3ForCausalLM")


def _gemma3_config(sizes: Sizes) -> dict[str, Any]:
    config = _decoder_config(sizes, "gemma3_text", "Gemma3ForCausalLM")
    del config["hidden_act"]
    kinds = ["full_attention" if i % 2 else "sliding_attention" for i in range(sizes.layers)]
    rope = {"rope_theta": 10000.0, "rope_type": "default"}
    return config | {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": sizes.head_dim,
        "sliding_window": 32,
        "layer_types": kinds,
        "rope_parameters": {"full_attention": rope, "sliding_attention": rope},
    }


def _deepseek_config(sizes: Sizes) -> dict[str, Any]:
    config = _decoder_config(sizes, "deepseek_v3", "DeepseekV3ForCausalLM")
    del config["head_dim"]
    return config | {
        "num_key_value_heads": sizes.heads,
        "q_lora_rank": 32,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": sizes.head_dim,
        "qk_rope_head_dim": 8,
        "v_head_dim": sizes.head_dim,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 32,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "rope_interleave": True,
    }


def _bert_config(sizes: Sizes) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "max_position_embeddings": sizes.context,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


_Shapes = Iterator[tuple[str, Shape]]
Config = Mapping[str, Any]


def _decoder_shapes(
    config: Config, attention: Callable[[str, Config], _Shapes], norms: Sequence[str]
) -> _Shapes:
    hidden, rows = config["hidden_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", (rows, hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield from attention(f"{layer}.self_attn", config)
        if "n_routed_experts" in config and i >= config["first_k_dense_replace"]:
            yield from _experts(f"{layer}.mlp", config)
        else:
            yield from _mlp(f"{layer}.mlp", hidden, config["intermediate_size"])
        for norm in norms:
            yield f"{layer}.{norm}.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (rows, hidden)


def _mlp(prefix: str, hidden: int, inner: int) -> _Shapes:
    yield f"{prefix}.gate_proj.weight", (inner, hidden)
    yield f"{prefix}.up_proj.weight", (inner, hidden)
    yield f"{prefix}.down_proj.weight", (hidden, inner)


def _experts(prefix: str, config: Config) -> _Shapes:
    hidden, inner = config["hidden_size"], config["moe_intermediate_size"]
    yield f"{prefix}.gate.weight", (config["n_routed_experts"], hidden)
    yield f"{prefix}.gate.e_score_correction_bias", (config["n_routed_experts"],)
    for expert in range(config["n_routed_experts"]):
        yield from _mlp(f"{prefix}.experts.{expert}", hidden, inner)
    yield from _mlp(f"{prefix}.shared_experts", hidden, inner * config["n_shared_experts"])


def _grouped_attention(prefix: str, config: Config) -> _Shapes:
    hidden, dim = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    yield f"{prefix}.q_proj.weight", (queries, hidden)
    yield f"{prefix}.k_proj.weight", (keys, hidden)
    yield f"{prefix}.v_proj.weight", (keys, hidden)
    yield f"{prefix}.o_proj.weight", (hidden, queries)


def _normed_attention(prefix: str, config: Config) -> _Shapes:
    yield from _grouped_attention(prefix, config)
    yield f"{prefix}.q_norm.weight", (config["head_dim"],)
    yield f"{prefix}.k_norm.weight", (config["head_dim"],)


def _latent_attention(prefix: str, config: Config) -> _Shapes:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    query_rank, kv_rank = config["q_lora_rank"], config["kv_lora_rank"]
    nope, rope, value = (config[f"{k}_head_dim"] for k in ("qk_nope", "qk_rope", "v"))
    yield f"{prefix}.q_a_proj.weight", (query_rank, hidden)
    yield f"{prefix}.q_a_layernorm.weight", (query_rank,)
    yield f"{prefix}.q_b_proj.weight", (heads * (nope + rope), query_rank)
    yield f"{prefix}.kv_a_proj_with_mqa.weight", (kv_rank + rope, hidden)
    yield f"{prefix}.kv_a_layernorm.weight", (kv_rank,)
    yield f"{prefix}.kv_b_proj.weight", (heads * (nope + value), kv_rank)
    yield f"{prefix}.o_proj.weight", (hidden, heads * value)


_TWO_NORMS: Final = ("input_layernorm", "post_attention_layernorm")
_FOUR_NORMS: Final = (*_TWO_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")


def _bert_shapes(config: Config) -> _Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    for table, rows in (
        ("word", config["vocab_size"]),
        ("position", config["max_position_embeddings"]),
        ("token_type", config["type_vocab_size"]),
    ):
        yield f"embeddings.{table}_embeddings.weight", (rows, hidden)
    yield from _affine("embeddings.LayerNorm", (hidden,))
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            yield from _affine(f"{layer}.attention.self.{part}", (hidden, hidden))
        yield from _affine(f"{layer}.attention.output.dense", (hidden, hidden))
        yield from _affine(f"{layer}.attention.output.LayerNorm", (hidden,))
        yield from _affine(f"{layer}.intermediate.dense", (inner, hidden))
        yield from _affine(f"{layer}.output.dense", (hidden, inner))
        yield from _affine(f"{layer}.output.LayerNorm", (hidden,))
    yield from _affine("pooler.dense", (hidden, hidden))


def _affine(prefix: str, shape: Shape) -> _Shapes:
    yield f"{prefix}.weight", shape
    yield f"{prefix}.bias", shape[:1]


@dataclass(frozen=True, slots=True)
class _Family:
    config: Callable[[Sizes], dict[str, Any]]
    shapes: Callable[[Config], _Shapes]
    tied: bool
    vocabulary: Vocabulary


def _decoder(
    config: Callable[[Sizes], dict[str, Any]],
    attention: Callable[[str, Config], _Shapes],
    *,
    norms: Sequence[str] = _TWO_NORMS,
    tied: bool = False,
    vocabulary: Vocabulary = "byte_bpe",
) -> _Family:
    shapes = functools.partial(_decoder_shapes, attention=attention, norms=norms)
    return _Family(config, shapes, tied, vocabulary)


_FAMILIES: Final[dict[Architecture, _Family]] = {
    "llama": _decoder(_llama_config, _grouped_attention),
    "qwen3": _decoder(_qwen3_config, _normed_attention, tied=True),
    "gemma3": _decoder(
        _gemma3_config, _normed_attention, norms=_FOUR_NORMS, tied=True, vocabulary="fallback_bpe"
    ),
    "deepseek_v3": _decoder(_deepseek_config, _latent_attention),
    "bert": _Family(_bert_config, _bert_shapes, True, "wordpiece"),
}


# --- hostile ones: each would leave a canary file if it were executed ----------------------------


class _Canary:
    """Unpickling calls `open(path, "w")`: it makes an empty file, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def canary_pickle(canary: Path, *, protocol: int = 2) -> bytes:
    """Return a pickle that creates the file `canary` when loaded, and otherwise does nothing."""
    return pickle.dumps(_Canary(canary), protocol=protocol)


def write_pickle_bin(
    path: Path, *, canary: Path | None = None, container: Literal["zip", "raw"] = "zip"
) -> Path:
    """Write weights as `torch.save` does (`zip`) or as a bare pickle (`raw`); return the canary's path.

    The default canary is `CANARY` beside the file.
    """
    canary = canary or path.parent / "CANARY"
    data = canary_pickle(canary)
    if container == "raw":
        path.write_bytes(data)
        return canary
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, blob in (
            ("data.pkl", data),
            (".format_version", b"1"),
            ("byteorder", b"little"),
            ("version", b"3\n"),
        ):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), blob)
    return canary


def write_pickle_repo(directory: Path, *, canary: Path | None = None) -> Path:
    """Write a llama whose weights are in `pytorch_model.bin`; return the canary's path."""
    write_model(directory, "llama")
    (directory / "model.safetensors").unlink()
    return write_pickle_bin(
        directory / "pytorch_model.bin", canary=canary or directory.parent / "CANARY"
    )


def write_remote_code_repo(directory: Path, *, canary: Path | None = None) -> Path:
    """Write a llama whose `auto_map` names local code; return the path the code would create."""
    canary = canary or directory.parent / "CANARY"
    write_model(directory, "llama")
    for name, cls in (("configuration", "CanaryConfig"), ("modeling", "CanaryForCausalLM")):
        base = "LlamaConfig" if name == "configuration" else "LlamaForCausalLM"
        (directory / f"{name}_canary.py").write_text(
            f"from transformers import {base}\n\nopen({str(canary)!r}, 'w').close()\n\n\n"
            f"class {cls}({base}):\n    model_type = 'canary'\n",
            encoding="utf-8",
        )
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "canary",
        "architectures": ["CanaryForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_canary.CanaryConfig",
            "AutoModelForCausalLM": "modeling_canary.CanaryForCausalLM",
        },
    }
    write_json(directory / "config.json", config)
    return canary


def flip_byte(path: Path, offset: int = -1, *, mask: int = 0x01) -> None:
    """Flip bits of one byte in place; a negative offset counts from the end."""
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)
