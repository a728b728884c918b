"""Loading on one rung, from files that were verified, with nothing fetched and no foreign code run.

`trust_remote_code` follows the specification alone: it is on only where every code file carries its
allowance, which admission has checked. A model whose weights and configuration disagree is refused:
transformers would fill the gap with random numbers.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from pratique.core.load import LoadFault, LoadSpec, Task
from pratique.core.rungs import Rung
from pratique.jobs import worker_attention
from pratique.jobs.worker_memory import is_out_of_memory, trim
from pratique.jobs.worker_packed import NotPackable, pack
from pratique.jobs.worker_refusal import LoadRefused
from pratique.jobs.worker_tokenizer import is_as_sealed

_HEADS: Final = (
    ("ForCausalLM", Task.GENERATE),
    ("LMHeadModel", Task.GENERATE),
    ("ForConditionalGeneration", Task.GENERATE),
    ("ForSequenceClassification", Task.CLASSIFY),
    ("ForTokenClassification", Task.TAG),
)
_BATCHED_LAYERS: Final = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, in inference mode."""

    model: Any
    tokenizer: Any
    config: Any
    task: Task
    device: torch.device
    packed: bool = False

    @property
    def text_config(self) -> Any:  # noqa: ANN401 - transformers has no annotations
        """The part of the configuration that speaks of text."""
        return self.config.get_text_config()

    @property
    def context(self) -> int:
        """Positions the model was made for; 0 if it does not say."""
        found = getattr(self.text_config, "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else 0

    @property
    def vocabulary(self) -> int:
        """Rows of the input embedding."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def batches(self) -> bool:
        """Whether the state per sequence is keys and values alone, so that rows can be padded.

        Code of a model's own may do anything with positions and masks: it runs one row at a time.
        """
        if not _is_the_librarys(self.model):
            return False
        kinds = set(getattr(self.text_config, "layer_types", None) or ())
        return kinds <= _BATCHED_LAYERS and not getattr(self.model, "_is_stateful", False)


def load(spec: LoadSpec, directory: Path) -> LoadedModel:
    """Load the model of `spec`, whose files lie verified in `directory`. Raises LoadRefused."""
    options = {"local_files_only": True, "trust_remote_code": spec.remote_code}
    try:
        config = transformers.AutoConfig.from_pretrained(directory, **options)
    except Exception as error:
        raise LoadRefused(_why(error, LoadFault.UNKNOWN_ARCHITECTURE)) from error
    task = spec.task if spec.task is not Task.AUTO else _task(config, directory)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, **options)
    except Exception as error:
        raise LoadRefused(_why(error, LoadFault.NO_TOKENIZER)) from error
    model = _weights(spec, task, directory, options)
    packed = _pack(model) if spec.packed and _may_be_packed(spec, model) else False
    if packed is None:
        model = None  # what it took, before it is loaded again
        trim()
        model = _weights(spec, task, directory, options)
    if spec.device == "cpu" and task is Task.GENERATE and _is_the_librarys(model):
        worker_attention.install()  # a model's own code may write into a mask that was read before
    device = torch.device(spec.device)
    loaded = LoadedModel(model, tokenizer, model.config, task, device, bool(packed))
    if not is_as_sealed(tokenizer, directory, loaded.vocabulary):
        raise LoadRefused(LoadFault.TOKENIZER_DIFFERS)
    return loaded


def _weights(spec: LoadSpec, task: Task, directory: Path, options: dict[str, Any]) -> Any:  # noqa: ANN401 - transformers
    try:
        model, report = _class(task).from_pretrained(
            directory, output_loading_info=True, **options, **_placement(spec)
        )
    except Exception as error:
        raise LoadRefused(_why(error, LoadFault.WEIGHTS_DISAGREE)) from error
    _check(report, task)
    return model.eval()


def _may_be_packed(spec: LoadSpec, model: Any) -> bool:  # noqa: ANN401 - transformers
    return spec.rung is Rung.AUTO and spec.device == "cpu" and _is_the_librarys(model)


def _pack(model: Any) -> bool | None:  # noqa: ANN401 - as above
    """Return whether there was something to pack; None: the model is spoilt, and has to be loaded again."""
    try:
        return pack(model)
    except NotPackable:
        return None
    except Exception as error:
        raise LoadRefused(_why(error, LoadFault.INTERNAL)) from error


def _is_the_librarys(model: object) -> bool:
    return type(model).__module__.startswith("transformers.models.")


def _task(config: Any, directory: Path) -> Task:  # noqa: ANN401 - transformers
    if (directory / "modules.json").is_file():
        return Task.EMBED
    for name in getattr(config, "architectures", None) or ():
        for ending, task in _HEADS:
            if str(name).endswith(ending):
                return task
    return Task.EMBED


def _class(task: Task) -> Any:  # noqa: ANN401 - transformers
    match task:
        case Task.GENERATE:
            return transformers.AutoModelForCausalLM
        case Task.CLASSIFY:
            return transformers.AutoModelForSequenceClassification
        case Task.TAG:
            return transformers.AutoModelForTokenClassification
        case _:
            return transformers.AutoModel


def _placement(spec: LoadSpec) -> dict[str, Any]:
    options: dict[str, Any] = {"dtype": "auto", "use_safetensors": True}
    match spec.rung:
        case Rung.AUTO | Rung.VARIANT_INT8 | Rung.VARIANT_NF4:
            return options if spec.device == "cpu" else options | {"device_map": spec.device}
        case Rung.DEVICE_MAP:
            return options | {
                "device_map": "auto",
                # accelerate wants a folder; tensors stored in their own dtype are read in place
                "offload_folder": tempfile.mkdtemp(prefix="offload-"),
                "max_memory": {
                    int(name) if name.isdecimal() else name: size
                    for name, size in spec.device_memory.items()
                }
                or None,
            }
        case Rung.INT8 | Rung.NF4:
            return options | {
                "device_map": spec.device,
                "quantization_config": _quantised(spec.rung),
            }


def _quantised(rung: Rung) -> Any:  # noqa: ANN401 - transformers
    settings: Any = transformers.BitsAndBytesConfig
    if rung is Rung.INT8:
        return settings(load_in_8bit=True)
    return settings(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _check(report: dict[str, Any], task: Task) -> None:
    """Refuse weights that are missing or of another shape. A pooler that pooling ignores may miss."""
    missing = {str(name) for name in report.get("missing_keys") or ()}
    if task is Task.EMBED:
        missing = {name for name in missing if "pooler." not in name}
    if missing or report.get("mismatched_keys") or report.get("error_msgs"):
        raise LoadRefused(LoadFault.WEIGHTS_DISAGREE)


def _why(error: Exception, otherwise: LoadFault) -> LoadFault:
    if isinstance(error, LoadRefused):
        return error.fault
    if is_out_of_memory(error):
        return LoadFault.OUT_OF_MEMORY
    if "trust_remote_code" in str(error):
        return LoadFault.NEEDS_REMOTE_CODE
    if isinstance(error, ImportError):
        return LoadFault.RUNG_UNSUPPORTED
    return otherwise
