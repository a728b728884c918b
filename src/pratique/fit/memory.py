"""Peak memory of a worker, predicted per device and part. The rule: never below the truth.

A prediction is a sum of parts, each an upper bound of what the worker does:

- the interpreter with torch and transformers (`base`), measured, not computed;
- weights in their loaded dtype, plus what loading holds beside them for a while;
- the cache: cells for all sequences, one prompt on its way in, one layer's copy while growing;
- what one layer makes while it runs: activations, expanded latents, masks, repeated heads;
- logits of all rows, in the model's dtype, in float32 and as the sampler's weights;
- grammars that hold answers to a client's schemas, and the vocabulary as they walk it, on the host;
- in half precision and with packed matrices, the kernels that the library keeps for each shape it met.
- with packed matrices (jobs.worker_packed), what fills them up to whole blocks, and the head once more
  if it is the embedding too.
- where a sealed copy is asked for, the files themselves: memory that nothing gives back.

A measured run of the very model can raise the sum (pratique.fit.measured), never lower it.
"""

from dataclasses import dataclass
from typing import Final

from pratique.core.rungs import Rung
from pratique.fit.shape import MOST_KINDS, ModelShape

MIB: Final = 2**20
BASE_CPU: Final = 480 * MIB
"""A worker on CPU with libraries imported and nothing loaded (torch 2.13, transformers 5.23)."""
_QUANTISER: Final = 56 * MIB
"""What importing bitsandbytes adds to it."""
BASE_HOST: Final = 1400 * MIB
"""The same beside a GPU: CUDA's libraries and pinned buffers."""
BASE_GPU: Final = 700 * MIB
"""A CUDA context with cuBLAS work space."""
_ALLOCATOR: Final = 1.04
"""What the allocators round up and cannot give back, on what is allocated while running."""
_WHOLE: Final = 4
"""Bytes of an element in single precision."""
_NF4_BYTES: Final = 0.53
"""Per element: four bits, and block scales that are quantised themselves."""
_INT8_BYTES: Final = 1.02
MAPPED: Final = MIB
"""From this size on a buffer of the cache is memory of its own, which goes back when it is let go."""
KERNELS: Final = 16
"""Matrix kernels that a worker on CPU may keep at least: a number that it is started with. A model needs
one for each size of matrix, and as many for a prompt on its way in; with fewer they are made again and
again. Most models have half a dozen sizes."""
_OTHER_KERNELS: Final = 4
_KERNEL: Final = 1500 * 2**10
"""One that was made for one shape in half precision, with what it works in (measured on AVX-512). Left
alone, two caches keep 1,024 each, nearly all used once, since prompts differ in length: 800 MiB."""
_KERNEL_PACKED: Final = 600 * 2**10
"""One for a packed matrix. Besides, it lies between products of ever other sizes, whose room the C library
cannot always use again: a quarter of it, as measured."""
_STEP: Final = 128
"""Columns by which the worker's cache grows (jobs.worker_cache.GROW_COLUMNS)."""
_WIDENED: Final = 2**22
"""Elements of keys that are widened at once by all threads; as many of values (jobs.worker_attention)."""
_CELLS: Final = 2048
"""Cells of several sequences that are widened together at most, like one that is longer."""
GRAMMAR: Final = 32 * MIB
"""What the largest grammar of a client may come to; one is compiled at a time (jobs.worker_schema_cost)."""
GRAMMAR_SHARE: Final = 2 * MIB
"""What grammars may come to beside it for each row: more than an ordinary one with its whole answer."""
_TOKEN: Final = 130
"""Bytes of a token in the vocabulary that grammars walk, most of them only while it is made."""
_NODE: Final = 120
"""Bytes of a node of its tree of bytes, in the whole tree and in those of what JSON's strings allow."""
_KEPT: Final = 1.1
"""What the allocator keeps of grammars that are gone, in pieces that others do not fit into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of a model. Tokens; `kv_tokens` is the cache for all sequences together."""

    context: int
    rows: int
    kv_tokens: int
    prefill: int = 512


@dataclass(frozen=True, slots=True)
class Prediction:
    """Bytes on the device that computes and on the host, part by part."""

    device: dict[str, int]
    host: dict[str, int]

    @property
    def device_total(self) -> int:
        """Peak on the computing device (equal to the host's when that is the CPU)."""
        return sum(self.device.values())

    @property
    def host_total(self) -> int:
        """Peak of the process in RAM."""
        return sum(self.host.values())


def predict(
    shape: ModelShape,
    rung: Rung,
    demand: Demand,
    *,
    on_gpu: bool = False,
    resident: int | None = None,
    sealed_copy: bool = False,
    packed: bool = False,
) -> Prediction:
    """Predict the peak of one rung.

    `resident` caps the weights that `device_map` keeps in memory; `packed` is of `auto` on a CPU alone.
    """
    source = shape.variants.get(rung.variant or "", shape)
    weights = _weights(shape, source, rung, resident=resident)
    running = {
        "cache": cache_bytes(shape, demand),
        "activations": _activations(shape, demand),
        "logits": _logits(shape, demand),
    }
    if rung.variant or rung in {Rung.INT8, Rung.NF4}:
        running["unpacked"] = 2 * shape.largest  # one matrix at a time becomes ordinary again
    grammars = {"grammars": size} if (size := grammar_bytes(shape, demand)) else {}
    if on_gpu:
        device = {"base": BASE_GPU, "weights": weights, **running}
        host = {"base": BASE_HOST, "staging": 2 * source.largest, **grammars}
        if sealed_copy:
            host["copy"] = max(source.total, source.files)
        return Prediction(device, host)
    in_place = rung is Rung.AUTO and shape.files == shape.weights and not packed
    if not rung.variant:
        # Stacked experts are copies; their originals stay mapped as long as their file is.
        weights += shape.experts
    if packed:
        weights += shape.shared + shape.padding
    if kernel := _kernel(shape, rung, demand, packed=packed):
        running["kernels"] = kernels(shape) * kernel
    running |= grammars
    base = BASE_CPU + (_QUANTISER if "unpacked" in running else 0)
    parts = {"base": base, "weights": weights, **running}
    extra = _load_extra(shape, source, rung) + (shape.largest if packed else 0)
    if sealed_copy:
        # Weights that are used where they lie are pages of the copy; originals stay as long as it does.
        parts["copy"] = max(source.total, source.files) - (source.files if in_place else 0)
        extra = 0
    # Loading is over before anything runs: the peak is the larger of the two, not their sum.
    parts["loading"] = max(0, extra - sum(running.values()))
    return Prediction(parts, dict(parts))


def kernels(shape: ModelShape) -> int:
    """Return how many matrix kernels a worker may keep."""
    return max(KERNELS, 2 * min(shape.kinds, MOST_KINDS) + _OTHER_KERNELS)


def _kernel(shape: ModelShape, rung: Rung, demand: Demand, *, packed: bool) -> int:
    """Bytes of one kernel that is kept, for the widest prompt. In float32 another library multiplies."""
    if packed:
        # Of the widths of a layer's products this is the mean or more.
        width = (shape.hidden + shape.intermediate) // 2
        return _KERNEL_PACKED + _tokens(shape, demand) * width * shape.width // 4
    if shape.width < _WHOLE or rung in {Rung.VARIANT_NF4, Rung.NF4}:
        return _KERNEL
    return 0


def _tokens(shape: ModelShape, demand: Demand) -> int:
    """Tokens that are computed in one pass at most."""
    return max(demand.prefill * (1 if shape.generates else 4), demand.rows)


def cache_bytes(shape: ModelShape, demand: Demand) -> int:
    """Bytes of keys and values at most: the pool, a prompt on its way in, one layer's copy.

    Rows get columns in steps: each may hold a step that nothing fills yet. Buffers that were outgrown
    before they were large enough to be mapped leave room that larger ones cannot use.
    """
    if not shape.generates:
        return 0
    pool = demand.kv_tokens + _STEP * min(demand.rows, -(-demand.kv_tokens // demand.context))
    prompt = demand.context + _STEP
    per_layer = shape.cached * shape.width
    outgrown = 2 * shape.layers * min(MAPPED, pool * per_layer // 4)
    return int(((pool + prompt) * shape.layers + pool) * per_layer * _ALLOCATOR) + outgrown


def grammar_room(rows: int) -> int:
    """Bytes that all grammars of a worker may come to together: those who want more wait."""
    return GRAMMAR + rows * GRAMMAR_SHARE


def grammar_bytes(shape: ModelShape, demand: Demand) -> int:
    """Bytes that answers of clients' schemas come to at most, once one was asked for."""
    if not shape.generates or not shape.tree:
        return 0
    walked = _TOKEN * shape.vocabulary + _NODE * shape.tree
    return walked + int(grammar_room(demand.rows) * _KEPT)


def _weights(shape: ModelShape, source: ModelShape, rung: Rung, *, resident: int | None) -> int:
    match rung:
        case Rung.INT8:
            return shape.weights - shape.linear + int(shape.linear_elements * _INT8_BYTES)
        case Rung.NF4:
            return shape.weights - shape.linear + int(shape.linear_elements * _NF4_BYTES)
        case Rung.DEVICE_MAP if resident is not None:
            # What lies on disk passes through memory layer by layer.
            return min(shape.weights, resident) + 2 * _layer(shape)
        case Rung.VARIANT_INT8 | Rung.VARIANT_NF4:
            return source.files
        case _:
            return shape.weights


def _layer(shape: ModelShape) -> int:
    return max(shape.largest, -(-shape.linear // shape.layers))


def _load_extra(shape: ModelShape, source: ModelShape, rung: Rung) -> int:
    """Bytes that loading holds beside the weights: another dtype's original."""
    if rung.variant:
        return source.files
    return shape.files if shape.files != shape.weights else 0


def _activations(shape: ModelShape, demand: Demand) -> int:
    """What one layer makes of a prompt's piece, or of all rows' newest tokens."""
    tokens = _tokens(shape, demand)
    span = demand.context
    width = max(shape.width, 2)
    flow = tokens * (8 * shape.hidden + 4 * shape.intermediate) * width
    flow += tokens * 4 * shape.heads * shape.head_size * width
    if not shape.generates:
        # An encoder keeps nothing of a layer for the next one but its output.
        flow -= tokens * (2 * shape.hidden + 2 * shape.intermediate) * width
        return int((flow + tokens * span * 5) * _ALLOCATOR)
    # Keys and values repeated for grouped heads, and the mask of the widest piece.
    repeated = 2 * span * shape.heads * shape.head_size * width
    if width < _WHOLE:
        # Of half precision, what the newest tokens see is widened piece by piece.
        piece = max(_WIDENED, span * shape.head_size)
        repeated = max(repeated, min(2 * piece, max(span, _CELLS) * shape.cached) * _WHOLE)
    mask = tokens * span * 5
    if shape.eager:
        mask += tokens * span * shape.heads * (4 + 2 * width)
    if shape.expanded:
        # Latents become keys and values, once as they are computed and once as they are laid out;
        # sizes that differ between keys and values take attention's plain path, scores and all.
        repeated = 2 * (demand.kv_tokens + span) * shape.expanded * width
        mask += 3 * tokens * span * shape.heads * 4
    if shape.experts:
        # What is routed, and one layer's experts as the multiplication lays them out.
        flow += tokens * 8 * shape.hidden * width + -(-shape.experts // shape.layers)
    return int((flow + repeated + mask) * _ALLOCATOR)


def _logits(shape: ModelShape, demand: Demand) -> int:
    if not shape.generates:
        return 0
    return demand.rows * shape.vocabulary * (shape.width + 5 * 4)
