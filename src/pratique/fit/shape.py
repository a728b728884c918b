"""What a model's files say about its size: tensors from the headers, heads and layers from config.json.

Nothing is loaded, and no number of the configuration is believed to be small: where it does not say
how much is cached per token, the most that its other numbers permit is taken.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pratique.errors import FormatError, UnreadableInput
from pratique.fit.vocabulary import tree_nodes
from pratique.formats import json_strict
from pratique.formats.safetensors import (
    LENGTH_BYTES,
    TensorInfo,
    header_length,
    parse_header,
)

_DTYPE_BYTES: Final = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "F32": 4, "F16": 2, "BF16": 2, "F64": 8,
}  # fmt: skip
_EXPERT_MARKS: Final = (".experts.", ".block_sparse_moe.")
_HEADS: Final = ("head.weight", "embed_out.weight", "output.weight", "decoder.weight")
_PACKED: Final = frozenset({"float32", "bfloat16"})
MOST_KINDS: Final = 30
"""With more sizes of matrices than that, kernels would be made again and again, and packing does not pay."""
_BLOCK: Final = 64
"""A packed matrix is filled up with zeros to whole blocks of so many rows and columns at most."""
_UNQUANTISED: Final = ("embed", "lm_head", "wte", "wpe", "norm", "score", "classifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The numbers that memory depends on. Sizes in bytes, lengths in tokens or elements.

    `cached` are elements kept per token and layer. `expanded` are elements per token that one layer
    makes of them while it runs (latent attention). `experts` is the part of `weights` in separate
    expert tensors, which are stacked while loading. `total` is the size of all files of the folder.
    `shared` is the size of an embedding that is the output head as well, else 0. `padding` is what matrices
    would come to more if they were packed. `kinds` are the sizes of matrices that there are. `tree` are the
    nodes of the vocabulary as a tree of bytes, 0 for one that no grammar can hold.
    """

    architecture: str
    weights: int
    files: int
    linear: int
    linear_elements: int
    experts: int
    largest: int
    dtype: str
    width: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    head_size: int
    cached: int
    expanded: int
    vocabulary: int
    context: int
    generates: bool
    eager: bool
    total: int = 0
    shared: int = 0
    padding: int = 0
    kinds: int = 0
    tree: int = 0
    variants: dict[str, "ModelShape"] = field(default_factory=dict)

    @property
    def packs(self) -> bool:
        """Whether it pays to pack its matrices, which have to be loaded as they lie, in a dtype with kernels."""
        as_it_lies = self.dtype in _PACKED and self.files == self.weights
        return as_it_lies and self.kinds <= MOST_KINDS

    @property
    def bytes_per_token(self) -> int:
        """Cache bytes per token, all layers. Sliding layers count whole: they are kept whole."""
        return self.layers * self.cached * self.width


def read_shape(model_dir: Path, *, variants: dict[str, Path] | None = None) -> ModelShape:
    """Read a model directory. Raises FormatError or UnreadableInput; parses hostile bytes strictly."""
    config = _config(model_dir)
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    tensors = [tensor for path in _weight_files(model_dir) for tensor in _tensors(path)]
    if not tensors:
        raise UnreadableInput(
            f"{model_dir.name} holds no safetensors weights",
            hint="give a model directory, a snapshot's model/ or an admitted NAME",
        )
    numbers = _Numbers(inner)
    stored = _stored_dtype(tensors)
    named = inner.get("dtype") or inner.get("torch_dtype") or config.get("dtype")
    named = named or config.get("torch_dtype")
    dtype = named if isinstance(named, str) and named in _DTYPE_BYTES else stored
    names = config.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else "unknown"
    linear = [t for t in tensors if len(t.shape) == 2 and not _kept(t.name)]
    generates = _generates(architecture, model_dir)
    vocabulary = max(numbers.get("vocab_size"), _embedding_rows(tensors))
    return ModelShape(
        architecture=architecture,
        weights=sum(_loaded_size(t, dtype) for t in tensors),
        files=sum(t.end - t.begin for t in tensors),
        linear=sum(_loaded_size(t, dtype) for t in linear),
        linear_elements=sum(t.shape[0] * t.shape[1] for t in linear),
        experts=sum(
            _loaded_size(t, dtype) for t in tensors if any(mark in t.name for mark in _EXPERT_MARKS)
        ),
        largest=max(_loaded_size(t, dtype) for t in tensors),
        dtype=dtype,
        width=_DTYPE_BYTES[dtype],
        layers=numbers.layers,
        hidden=numbers.hidden,
        intermediate=numbers.intermediate,
        heads=numbers.heads,
        head_size=numbers.head_size,
        cached=numbers.cached,
        expanded=numbers.expanded,
        vocabulary=vocabulary,
        context=numbers.get("max_position_embeddings", "n_positions", "seq_length"),
        generates=generates,
        eager=bool(inner.get("attn_logit_softcapping")),
        total=sum(p.stat().st_size for p in model_dir.rglob("*") if p.is_file()),
        shared=_shared(tensors, dtype, numbers.get("vocab_size")) if generates else 0,
        kinds=len({t.shape for t in linear}) + generates,
        padding=sum(_padding(t) for t in tensors if len(t.shape) == 2) * _DTYPE_BYTES[dtype],
        tree=tree_nodes(model_dir, vocabulary) if generates else 0,
        variants={name: read_shape(path) for name, path in (variants or {}).items()},
    )


class _Numbers:
    """Whole numbers of a configuration, under the names that families give them."""

    def __init__(self, config: json_strict.JsonObject) -> None:
        self._config = config
        self.hidden = self.get("hidden_size", "n_embd", "d_model", "dim")
        self.layers = max(self.get("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 1)
        self.heads = max(self.get("num_attention_heads", "n_head", "num_heads", "n_heads"), 1)
        self.head_size = self.get("head_dim") or -(-self.hidden // self.heads)
        self.intermediate = (
            max(
                self.get("intermediate_size", "n_inner", "ffn_dim", "hidden_dim"),
                self.get("moe_intermediate_size")
                * (self.get("num_experts_per_tok") + self.get("n_shared_experts")),
            )
            or 4 * self.hidden
        )
        self.cached, self.expanded = self._cache()

    def get(self, *names: str) -> int:
        """The first of `names` that is a whole number, else 0."""
        for name in names:
            value = self._config.get(name)
            if type(value) is int and 0 < value < 2**40:
                return value
        return 0

    def _cache(self) -> tuple[int, int]:
        """Elements cached per token and layer, and elements one layer expands them to."""
        if rank := self.get("kv_lora_rank"):
            # Multi-head latent attention: one latent and one rotary key, for all heads together.
            nope, rope = self.get("qk_nope_head_dim"), self.get("qk_rope_head_dim")
            value = self.get("v_head_dim") or self.head_size
            return rank + rope, self.heads * (nope + value + nope + rope)
        groups = self.get("num_key_value_heads", "num_kv_heads", "n_head_kv") or self.heads
        if self._config.get("multi_query") is True and not self.get("num_kv_heads"):
            groups = 1
        value = self.get("v_head_dim") or self.head_size
        return groups * (self.head_size + value), 0


def _config(model_dir: Path) -> json_strict.JsonObject:
    try:
        data = (model_dir / "config.json").read_bytes()
    except OSError as error:
        raise UnreadableInput(
            f"{model_dir.absolute().name} has no readable config.json",
            hint="give a model directory, a snapshot's model/ or an admitted NAME",
        ) from error
    return json_strict.parse_object(data)


def _weight_files(model_dir: Path) -> list[Path]:
    """The files that would be loaded: those an index names, else all of the top folder."""
    index = model_dir / "model.safetensors.index.json"
    if index.is_file():
        mapped = json_strict.parse_object(index.read_bytes(), json_strict.VOCABULARY)
        names = mapped.get("weight_map")
        if isinstance(names, dict):
            plain = {str(name) for name in names.values()}
            if any("/" in name or name.startswith(".") for name in plain):
                raise FormatError("the weight index names a file outside its folder")
            return sorted(model_dir / name for name in plain)
    single = model_dir / "model.safetensors"
    return [single] if single.is_file() else sorted(model_dir.glob("*.safetensors"))


def _tensors(path: Path) -> list[TensorInfo]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(LENGTH_BYTES)
            return list(
                parse_header(head + file.read(header_length(head, size)), size).tensors.values()
            )
    except OSError as error:
        raise UnreadableInput(f"cannot read {path.name}: {error.strerror}") from error
    except FormatError as error:
        raise FormatError(f"{path.name} {error.message}") from error


def _stored_dtype(tensors: list[TensorInfo]) -> str:
    """The floating dtype that most bytes are stored in."""
    sizes: dict[str, int] = {}
    for tensor in tensors:
        if tensor.dtype in _DTYPE_BYTES:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.end - tensor.begin
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
    return names[max(sizes, key=sizes.__getitem__)] if sizes else "float32"


def _loaded_size(tensor: TensorInfo, dtype: str) -> int:
    """Bytes of a tensor once it is in `dtype`; integers and packed kinds keep their size."""
    stored = tensor.end - tensor.begin
    if tensor.dtype not in _DTYPE_BYTES:
        return stored
    return stored // _DTYPE_BYTES[tensor.dtype] * _DTYPE_BYTES[dtype]


def _kept(name: str) -> bool:
    return any(mark in name.lower() for mark in _UNQUANTISED)


def _embedding_rows(tensors: list[TensorInfo]) -> int:
    """Rows of the widest embedding or head: padded rows count, whatever vocab_size says."""
    rows = [t.shape[0] for t in tensors if len(t.shape) == 2 and _is_vocabulary(t.name)]
    return max(rows, default=0)


def _shared(tensors: list[TensorInfo], dtype: str, vocabulary: int) -> int:
    """Bytes of the embedding, whatever its name, if no tensor is an output head of its own."""
    wide = [t for t in tensors if len(t.shape) == 2 and t.shape[0] >= vocabulary]
    if any(t.name.endswith(_HEADS) for t in wide):
        return 0
    return max((_loaded_size(t, dtype) for t in wide), default=0)


def _padding(tensor: TensorInfo) -> int:
    """Elements that a packed matrix has more than the matrix."""
    rows, columns = (-(-size // _BLOCK) * _BLOCK for size in tensor.shape)
    return rows * columns - tensor.shape[0] * tensor.shape[1]


def _is_vocabulary(name: str) -> bool:
    return any(mark in name for mark in ("embed_tokens", "lm_head", "wte", "word_embeddings"))


def _generates(architecture: str, model_dir: Path) -> bool:
    if (model_dir / "modules.json").is_file():
        return False
    return architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))
