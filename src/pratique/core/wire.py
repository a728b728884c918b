"""The language between gateway and model worker: framed JSON, strict and bounded in both directions.

Neither side trusts the other. A frame is a four-byte big-endian length and that many bytes of UTF-8
JSON: one object whose `op` names its kind. Unknown kinds, unknown fields, wrong types and oversize
frames end the conversation. The worker never sends prose: what went wrong is a `Fault`.
"""

import enum
import struct
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pratique.core.load import LoadFault, LoadSpec, Task
from pratique.errors import FormatError

MAX_FRAME: Final = 64 * 2**20
"""Longest frame, in bytes."""
_LENGTH: Final = struct.Struct(">I")

_STRICT = ConfigDict(extra="forbid", frozen=True)
RequestId = Annotated[int, Field(ge=0, lt=2**53)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class Fault(enum.StrEnum):
    """Why the worker did not answer a request."""

    PROMPT_TOO_LONG = "prompt_too_long"
    PROMPT_EMPTY = "prompt_empty"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a vocabulary id, not a secret
    BAD_BIAS = "bad_bias"
    """A token of `logit_bias` that the vocabulary does not have."""
    NO_TEMPLATE = "no_template"
    TEMPLATE_REFUSED = "template_refused"
    TEMPLATE_WITHOUT_TOOLS = "template_without_tools"
    BAD_SCHEMA = "bad_schema"
    """Malformed, contradictory, or not a thing that a grammar can hold."""
    SCHEMA_KEYWORD = "schema_keyword"
    """`got` counts into core.schema_words.KEYWORDS; 0 is a word that JSON Schema does not have."""
    SCHEMA_TOO_BIG = "schema_too_big"
    SCHEMA_UNSUPPORTED_HERE = "schema_unsupported_here"
    """The model's tokenizer cannot be held to a grammar."""
    SCHEMA_LIKE_CALL = "schema_like_call"
    """An answer of the schema could be read as a call in the form of this template."""
    TOOL_FORM_UNKNOWN = "tool_form_unknown"
    """The template shows no form of a call that is known here."""
    TOKENIZER_REFUSED = "tokenizer_refused"
    """The tokenizer has no tokens for some of the text, and none that stands for what it does not know."""
    ANSWER_TOO_BIG = "answer_too_big"
    """So many vectors or labels do not go in one answer."""
    WRONG_TASK = "wrong_task"
    TOO_BIG = "too_big"
    """It could never fit the cache, even alone."""
    BUSY = "busy"
    OUT_OF_MEMORY = "out_of_memory"
    INTERNAL = "internal"


class Finish(enum.StrEnum):
    """Why a sequence ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


class ToolForm(enum.StrEnum):
    """How the admitted template has the model write a call."""

    NONE = "none"
    TAGGED = "tagged"
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`"""
    BARE = "bare"
    """`{"name": …, "parameters": {…}}` and nothing else"""
    LISTED = "listed"
    """The special token `[TOOL_CALLS]`, then `[{"name": …, "arguments": {…}}]`"""


class Sampling(BaseModel):
    """How the next token is drawn. None: as the model's own generation_config.json says.

    `temperature` 0 takes the likeliest; `top_k` 0 means all.
    """

    model_config = _STRICT

    temperature: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=0, lt=2**31)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    logit_bias: dict[int, float] = Field(default_factory=dict, max_length=1024)


class Generate(BaseModel):
    """Continue a prompt: exactly one of `text`, `tokens`, `messages` is given.

    `messages` and `tools` go to the admitted chat template as they are. `schema_` constrains the
    answer to JSON of that schema ({}: any JSON). `must_call` constrains it to calls of these tools,
    one or, with `several_calls`, more, and a schema beside it is only checked; `may_call` leaves it
    free but for the calls in it, or with a schema lets it be calls or that JSON. Requests of one `scope` may share what was computed of their prompts; None
    shares with nobody.
    """

    model_config = _STRICT

    op: Literal["generate"] = "generate"
    id: RequestId
    text: str | None = None
    tokens: tuple[Count, ...] | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    sampling: Sampling = Sampling()
    max_tokens: int | None = Field(default=None, gt=0, lt=2**31)
    n: int = Field(default=1, gt=0, le=128)
    stop: tuple[str, ...] = Field(default=(), max_length=16)
    stream: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=20)
    ignore_eos: bool = False
    scope: int | None = Field(default=None, ge=0, lt=2**31)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    must_call: tuple[str, ...] = Field(default=(), max_length=128)
    may_call: tuple[str, ...] = Field(default=(), max_length=128)
    several_calls: bool = False

    @property
    def constrained(self) -> bool:
        """Whether a grammar holds the answer."""
        return self.schema_ is not None or bool(self.must_call or self.may_call)


class Embed(BaseModel):
    """Turn texts into vectors."""

    model_config = _STRICT

    op: Literal["embed"] = "embed"
    id: RequestId
    texts: tuple[str, ...] = Field(default=(), max_length=4096)
    tokens: tuple[tuple[Count, ...], ...] = Field(default=(), max_length=4096)


class Classify(BaseModel):
    """Label texts (whole, or span by span, as the model does)."""

    model_config = _STRICT

    op: Literal["classify"] = "classify"
    id: RequestId
    texts: tuple[str, ...] = Field(max_length=4096)


class Tokenize(BaseModel):
    """Count and list the tokens of a text, or of messages under the template."""

    model_config = _STRICT

    op: Literal["tokenize"] = "tokenize"
    id: RequestId
    text: str | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    special: bool = True


class Cancel(BaseModel):
    """Forget a request; nothing more is said about it."""

    model_config = _STRICT

    op: Literal["cancel"] = "cancel"
    id: RequestId


class Load(BaseModel):
    """The first message to a worker."""

    model_config = _STRICT

    op: Literal["load"] = "load"
    spec: LoadSpec


class Stop(BaseModel):
    """Finish what runs, take nothing new, then exit 0."""

    model_config = _STRICT

    op: Literal["stop"] = "stop"


ToWorker = Annotated[
    Load | Generate | Embed | Classify | Tokenize | Cancel | Stop, Field(discriminator="op")
]


class Loaded(BaseModel):
    """The model is in memory and its files still are what they were."""

    model_config = _STRICT

    op: Literal["loaded"] = "loaded"
    task: Task
    context: int = Field(gt=0, lt=2**53)
    vocabulary: int = Field(ge=0, lt=2**53)
    dimensions: int = Field(default=0, ge=0, lt=2**31)
    template: bool = False
    tools: bool = False
    tool_form: ToolForm = ToolForm.NONE
    dtype: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    bytes_resident: Count = 0
    bytes_peak: Count = 0
    seconds_verify: float = Field(ge=0, allow_inf_nan=False)
    seconds_load: float = Field(ge=0, allow_inf_nan=False)
    batching: bool = True
    packed: bool = False
    labels: tuple[str, ...] = Field(default=(), max_length=100_000)


class LoadFailed(BaseModel):
    """The model is not in memory; the worker exits."""

    model_config = _STRICT

    op: Literal["load_failed"] = "load_failed"
    fault: LoadFault


class TokenScore(BaseModel):
    """One token and its natural-log probability; `data` are its bytes, base64."""

    model_config = _STRICT

    token: str = Field(max_length=4096)
    data: str = Field(max_length=8192, pattern=r"^[A-Za-z0-9+/=]*$")
    logprob: float = Field(le=0, allow_inf_nan=False)


class ScoredToken(TokenScore):
    """A token that was drawn, with the likeliest others. `offset`: where in its choice's text it begins."""

    model_config = _STRICT

    offset: Count = 0
    top: tuple[TokenScore, ...] = Field(default=(), max_length=20)


class Started(BaseModel):
    """The prompt was understood and has this many tokens."""

    model_config = _STRICT

    op: Literal["started"] = "started"
    id: RequestId
    prompt_tokens: Count
    cached_tokens: Count = 0


class Delta(BaseModel):
    """More text of one choice. Never ends inside a character or a possible stop string."""

    model_config = _STRICT

    op: Literal["delta"] = "delta"
    id: RequestId
    index: int = Field(ge=0, lt=128)
    text: str
    scores: tuple[ScoredToken, ...] = ()


class Done(BaseModel):
    """One choice is complete. `text` is what no Delta carried yet (all of it when not streaming)."""

    model_config = _STRICT

    op: Literal["done"] = "done"
    id: RequestId
    index: int = Field(ge=0, lt=128)
    text: str
    finish: Finish
    completion_tokens: Count
    scores: tuple[ScoredToken, ...] = ()


class Vectors(BaseModel):
    """Embeddings: little-endian float32 rows, base64."""

    model_config = _STRICT

    op: Literal["vectors"] = "vectors"
    id: RequestId
    prompt_tokens: Count
    dimensions: int = Field(gt=0, lt=2**20)
    rows: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]*$")], ...]


class Label(BaseModel):
    """One label; `start` and `end` are code points, or -1 for the whole text."""

    model_config = _STRICT

    label: int = Field(ge=0, lt=2**20)
    score: float = Field(ge=0, le=1, allow_inf_nan=False)
    start: int = Field(default=-1, ge=-1, lt=2**31)
    end: int = Field(default=-1, ge=-1, lt=2**31)


class Labels(BaseModel):
    """Labels per text; `Loaded.labels` has their names."""

    model_config = _STRICT

    op: Literal["labels"] = "labels"
    id: RequestId
    prompt_tokens: Count
    rows: tuple[tuple[Label, ...], ...]


class TokenIds(BaseModel):
    """The tokens of a text."""

    model_config = _STRICT

    op: Literal["token_ids"] = "token_ids"
    id: RequestId
    ids: tuple[Count, ...]


class Failed(BaseModel):
    """A request was not answered. `got` and `limit` are numbers that belong to the fault.

    `of_tools`: the schema at fault is a tool's parameters, not that of the answer.
    """

    model_config = _STRICT

    op: Literal["failed"] = "failed"
    id: RequestId
    fault: Fault
    got: Count = 0
    limit: Count = 0
    of_tools: bool = False


class Beat(BaseModel):
    """How busy the worker is: sent when it changes and at least every few seconds of work."""

    model_config = _STRICT

    op: Literal["beat"] = "beat"
    running: Count
    waiting: Count
    kv_tokens: Count
    steps: Count
    bytes_resident: Count = 0
    bytes_peak: Count = 0


class Spoiled(BaseModel):
    """The files under the loaded model are no longer what was verified; the worker exits."""

    model_config = _STRICT

    op: Literal["spoiled"] = "spoiled"


Answer = Started | Delta | Done | Vectors | Labels | TokenIds | Failed
FromWorker = Annotated[
    Loaded
    | LoadFailed
    | Started
    | Delta
    | Done
    | Vectors
    | Labels
    | TokenIds
    | Failed
    | Beat
    | Spoiled,
    Field(discriminator="op"),
]

_TO_WORKER: Final[TypeAdapter[Any]] = TypeAdapter(ToWorker)
_FROM_WORKER: Final[TypeAdapter[Any]] = TypeAdapter(FromWorker)


def encode(message: BaseModel) -> bytes:
    """Return `message` as one frame. Raises FormatError if it would be longer than MAX_FRAME."""
    try:
        body = message.model_dump_json(by_alias=True, exclude_defaults=False).encode("utf-8")
    except (UnicodeEncodeError, ValueError) as error:
        raise FormatError("the message is not valid Unicode") from error
    if len(body) > MAX_FRAME:
        raise FormatError(f"the message is longer than {MAX_FRAME} bytes")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a byte stream into frames. Holds at most one incomplete frame of MAX_FRAME bytes."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add `data`, yield the bodies that are complete. Raises FormatError on an oversize frame."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise FormatError(f"a frame of {length} bytes was announced")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body

    @property
    def incomplete(self) -> bool:
        """Whether bytes of an unfinished frame are held."""
        return bool(self._buffer)


def parse_to_worker(body: bytes) -> Load | Generate | Embed | Classify | Tokenize | Cancel | Stop:
    """Parse a frame's body as the worker does. Raises FormatError."""
    return _parse(_TO_WORKER, body)  # type: ignore[no-any-return]  # the adapter knows, mypy does not


def parse_from_worker(body: bytes) -> Answer | Loaded | LoadFailed | Beat | Spoiled:
    """Parse a frame's body as the gateway does. Raises FormatError."""
    return _parse(_FROM_WORKER, body)  # type: ignore[no-any-return]  # as above


def _parse(adapter: TypeAdapter[Any], body: bytes) -> Any:  # noqa: ANN401 - see the callers
    try:
        return adapter.validate_json(body)
    except (ValidationError, RecursionError) as error:
        # The message may quote foreign text: it goes no further.
        raise FormatError("a message between gateway and worker was malformed") from error
