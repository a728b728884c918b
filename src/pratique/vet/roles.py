"""Every path has one known role, or it has none and is refused.

A role is read off the name alone and says what the content *must* be; whether it is, the parsers
say. "Loaded" roles are those that transformers, sentence-transformers, PEFT or diffusers open when
they load a directory.
"""

import enum
import re
from typing import Final


class Role(enum.StrEnum):
    """What a file is for."""

    WEIGHTS = "weights"
    INDEX = "index"
    TORCH = "torch"
    GGUF = "gguf"
    ONNX = "onnx"
    ONNX_DATA = "onnx-data"
    KERAS = "keras"
    SAVED_MODEL = "saved-model"
    TFLITE = "tflite"
    FLAX = "flax"
    FOREIGN = "foreign"
    """Weights of a runtime that this tool does not serve (OpenVINO, Core ML): carried by nobody."""
    CONFIG = "config"
    GENERATION = "generation-config"
    PROCESSOR = "processor"
    ADAPTER = "adapter"
    QUANTISATION = "quantisation"
    SENTENCE = "sentence-transformers"
    PIPELINE = "pipeline"
    TOKENIZER_CONFIG = "tokenizer-config"
    TOKENIZER = "tokenizer"
    TOKENIZER_MODEL = "tokenizer-model"
    ADDED_TOKENS = "added-tokens"
    CHAT_TEMPLATE = "chat-template"
    CARD = "card"
    LICENCE = "licence"
    DOCUMENT = "document"
    IMAGE = "image"
    MEDIA = "media"
    CODE = "code"
    SCRIPT = "script"
    NOTEBOOK = "notebook"
    JSON = "json"
    DATA = "data"
    ARRAY = "array"
    RAW_ARRAY = "raw-array"
    EVENTS = "events"
    GIT = "git"
    CACHE = "cache"
    CHECKSUMS = "checksums"
    ARCHIVE = "archive"
    NATIVE = "native"
    UNKNOWN = "unknown"


LOADED_JSON: Final = frozenset(
    {
        Role.INDEX,
        Role.CONFIG,
        Role.GENERATION,
        Role.PROCESSOR,
        Role.ADAPTER,
        Role.QUANTISATION,
        Role.SENTENCE,
        Role.PIPELINE,
        Role.TOKENIZER_CONFIG,
        Role.ADDED_TOKENS,
    }
)
"""Configuration that some loader parses as JSON."""

_NAMES: Final[dict[str, Role]] = {
    "config.json": Role.CONFIG,
    "params.json": Role.CONFIG,
    "generation_config.json": Role.GENERATION,
    "preprocessor_config.json": Role.PROCESSOR,
    "processor_config.json": Role.PROCESSOR,
    "image_processor_config.json": Role.PROCESSOR,
    "video_preprocessor_config.json": Role.PROCESSOR,
    "feature_extractor_config.json": Role.PROCESSOR,
    "audio_tokenizer_config.json": Role.PROCESSOR,
    "adapter_config.json": Role.ADAPTER,
    "quantize_config.json": Role.QUANTISATION,
    "quant_config.json": Role.QUANTISATION,
    "quantization_config.json": Role.QUANTISATION,
    "hf_quant_config.json": Role.QUANTISATION,
    "modules.json": Role.SENTENCE,
    "config_sentence_transformers.json": Role.SENTENCE,
    "sentence_bert_config.json": Role.SENTENCE,
    "sentence_roberta_config.json": Role.SENTENCE,
    "sentence_distilbert_config.json": Role.SENTENCE,
    "sentence_camembert_config.json": Role.SENTENCE,
    "sentence_albert_config.json": Role.SENTENCE,
    "sentence_xlm-roberta_config.json": Role.SENTENCE,
    "sentence_xlnet_config.json": Role.SENTENCE,
    "router_config.json": Role.SENTENCE,
    "wordembedding_config.json": Role.SENTENCE,
    "whitespacetokenizer_config.json": Role.SENTENCE,
    "model_index.json": Role.PIPELINE,
    "scheduler_config.json": Role.PIPELINE,
    "tokenizer_config.json": Role.TOKENIZER_CONFIG,
    "special_tokens_map.json": Role.ADDED_TOKENS,
    "added_tokens.json": Role.ADDED_TOKENS,
    "tokenizer.json": Role.TOKENIZER,
    "vocab.json": Role.TOKENIZER,
    "vocab.txt": Role.TOKENIZER,
    "vocab.bpe": Role.TOKENIZER,
    "merges.txt": Role.TOKENIZER,
    "encoder.json": Role.TOKENIZER,
    "bpe.codes": Role.TOKENIZER,
    "dict.txt": Role.TOKENIZER,
    "entity_vocab.json": Role.TOKENIZER,
    "emoji.json": Role.TOKENIZER,
    "normalizer.json": Role.TOKENIZER,
    "tekken.json": Role.TOKENIZER,
    "vocab-src.json": Role.TOKENIZER,
    "vocab-tgt.json": Role.TOKENIZER,
    "chat_template.json": Role.CHAT_TEMPLATE,
    "chat_template.jinja": Role.CHAT_TEMPLATE,
    "chat_template.jinja2": Role.CHAT_TEMPLATE,
    "tokenizer.model": Role.TOKENIZER_MODEL,
    "tokenizer.model.v1": Role.TOKENIZER_MODEL,
    "tokenizer.model.v2": Role.TOKENIZER_MODEL,
    "tokenizer.model.v3": Role.TOKENIZER_MODEL,
    "tokenizer.model.v7": Role.TOKENIZER_MODEL,
    "spiece.model": Role.TOKENIZER_MODEL,
    "spm.model": Role.TOKENIZER_MODEL,
    "source.spm": Role.TOKENIZER_MODEL,
    "target.spm": Role.TOKENIZER_MODEL,
    "sentencepiece.bpe.model": Role.TOKENIZER_MODEL,
    "sentencepiece.model": Role.TOKENIZER_MODEL,
    "readme.md": Role.CARD,
    "modelcard.md": Role.CARD,
    "model_card.md": Role.CARD,
    "saved_model.pb": Role.SAVED_MODEL,
    "keras_metadata.pb": Role.SAVED_MODEL,
    "fingerprint.pb": Role.SAVED_MODEL,
    ".gitattributes": Role.GIT,
    ".gitignore": Role.GIT,
    ".gitkeep": Role.GIT,
    ".huggingfaceignore": Role.GIT,
    ".dockerignore": Role.GIT,
    ".ds_store": Role.CACHE,
    "cachedir.tag": Role.CACHE,
    "sha256sums": Role.CHECKSUMS,
    "sha256sums.txt": Role.CHECKSUMS,
    "sha256sum.txt": Role.CHECKSUMS,
    "checksums.txt": Role.CHECKSUMS,
    "checksums.sha256": Role.CHECKSUMS,
    "checklist.chk": Role.CHECKSUMS,
    "md5sums": Role.CHECKSUMS,
    "makefile": Role.SCRIPT,
    "dockerfile": Role.SCRIPT,
    "codeowners": Role.DOCUMENT,
}

_LICENCE_NAME: Final = (
    r"(?:.*/)?(?:licen[cs]e|copying|notice|copyright|eula|terms|(?:acceptable_)?use_policy|usage_policy)"
    r"(?:[-_. ][a-z0-9_. -]*)?(?:\.md|\.txt|\.rst)?"
)

_PATTERNS: Final[tuple[tuple[re.Pattern[str], Role], ...]] = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"(?:.*/)?\.cache/huggingface/.*", Role.CACHE),
        (_LICENCE_NAME, Role.LICENCE),
        (r"(?:.*/)?additional_chat_templates/[^/]+\.jinja", Role.CHAT_TEMPLATE),
        (r".*\.jinja2?", Role.CHAT_TEMPLATE),
        (r".*\.(?:safetensors|bin|pt|pth|msgpack|h5)\.index(?:\.[a-z0-9_-]+)?\.json", Role.INDEX),
        (r".*\.index(?:\.[a-z0-9_-]+)?\.json", Role.INDEX),
        (r"(?:.*/)?events\.out\.tfevents\..*", Role.EVENTS),
        (r".*\.sha(?:1|224|256|384|512)(?:sums?)?", Role.CHECKSUMS),
        (r"(?:.*/)?variables/variables\.(?:index|data-\d{5}-of-\d{5})", Role.SAVED_MODEL),
        (r".*\.ckpt(?:-\d+)?\.(?:index|meta|data-\d{5}-of-\d{5})", Role.SAVED_MODEL),
        (r".*\.mlpackage/(?:.*)", Role.FOREIGN),
        (r".*openvino[^/]*\.bin", Role.FOREIGN),
        (r".*\.(?:onnx[._]data(?:_\d+)?|onnx\.data_\d+)", Role.ONNX_DATA),
        (r".*\.model\.v\d+(?:m\d+)?", Role.TOKENIZER_MODEL),
        (r"(?:.*/)?tekken[^/]*\.json", Role.TOKENIZER),
        (r".*\.so(?:\.\d+)+", Role.NATIVE),
        (r".*\.(?:tar\.[a-z0-9]+|t[gbx]z2?|7z\.\d+|part\d*\.rar|z\d\d)", Role.ARCHIVE),
    )
)  # fmt: skip

_SUFFIXES: Final[dict[str, Role]] = {
    **dict.fromkeys(("safetensors",), Role.WEIGHTS),
    **dict.fromkeys(
        ("bin", "pt", "pth", "ckpt", "pkl", "pickle", "p", "pck", "pcl", "dill", "joblib", "th", "ot",
         "mar", "nemo", "t7", "pt2", "pte", "ptl", "torchscript", "model_state", "cloudpickle", "dat"),
        Role.TORCH,
    ),
    "gguf": Role.GGUF,
    "ggml": Role.GGUF,
    **dict.fromkeys(("onnx", "ort"), Role.ONNX),
    **dict.fromkeys(("h5", "hdf5", "keras"), Role.KERAS),
    **dict.fromkeys(("tflite", "lite"), Role.TFLITE),
    "pb": Role.SAVED_MODEL,
    "msgpack": Role.FLAX,
    **dict.fromkeys(("mlmodel",), Role.FOREIGN),
    **dict.fromkeys(("model", "spm"), Role.TOKENIZER_MODEL),
    **dict.fromkeys(("tiktoken", "bpe"), Role.TOKENIZER),
    **dict.fromkeys(("md", "mdx", "rst", "txt", "pdf", "bib", "cff", "tex", "html", "htm"), Role.DOCUMENT),
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "ico", "avif"), Role.IMAGE),
    **dict.fromkeys(("wav", "mp3", "flac", "ogg", "m4a", "mp4", "webm", "mov"), Role.MEDIA),
    **dict.fromkeys(("py", "pyi"), Role.CODE),
    **dict.fromkeys(
        ("sh", "bash", "zsh", "js", "ts", "mjs", "css", "c", "h", "cc", "cpp", "cu", "cuh", "hpp", "rs",
         "go", "java", "swift", "kt", "r", "jl", "lua", "ps1", "bat", "cmd", "slurm", "sbatch", "proto",
         "cmake", "pl", "rb", "metal", "m", "mm", "cs"),
        Role.SCRIPT,
    ),
    "ipynb": Role.NOTEBOOK,
    "json": Role.JSON,
    **dict.fromkeys(
        ("jsonl", "ndjson", "csv", "tsv", "yaml", "yml", "toml", "ini", "cfg", "conf", "xml", "log", "parquet",
         "arrow", "lock", "list", "labels", "names", "vec", "diff", "patch", "imatrix"),
        Role.DATA,
    ),
    **dict.fromkeys(("npy", "npz"), Role.ARRAY),
    **dict.fromkeys(
        ("raw", "f16", "f32", "f64", "bf16", "fp16", "fp32", "float32", "i8", "i16", "i32", "i64", "u8", "u16", "u32",
         "fvecs", "ivecs", "bvecs"),
        Role.RAW_ARRAY,
    ),
    **dict.fromkeys(
        ("zip", "tar", "gz", "tgz", "bz2", "xz", "zst", "lz4", "lzma", "7z", "rar", "jar", "whl", "egg",
         "apk", "deb", "rpm", "cab", "iso", "ar", "cpio", "br", "z", "zlib", "pak"),
        Role.ARCHIVE,
    ),
    **dict.fromkeys(
        ("so", "dll", "dylib", "exe", "elf", "a", "o", "ko", "lib", "obj", "wasm", "pyd", "class", "node",
         "msi", "bc", "ptx", "cubin", "fatbin", "pyc", "pyo", "nexe", "engine", "plan"),
        Role.NATIVE,
    ),
}  # fmt: skip


def role_of(path: str) -> Role:
    """Return the role that the name `path` claims. Never fails; nameless things are UNKNOWN."""
    lowered = path.casefold()
    name = lowered.rsplit("/", 1)[-1]
    if (role := _NAMES.get(name)) is not None:
        return role
    for pattern, role in _PATTERNS:
        if pattern.fullmatch(lowered):
            return role
    stem, dot, suffix = name.rpartition(".")
    if dot and stem:
        return _SUFFIXES.get(suffix, Role.UNKNOWN)
    return Role.UNKNOWN
