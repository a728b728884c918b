"""Every refusal over HTTP has OpenAI's form, names the field where there is one, and quotes nobody."""

import logging
import traceback
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal

from starlette.responses import JSONResponse

from pratique.core.schema_words import KEYWORDS
from pratique.core.wire import Failed, Fault

Kind = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "server_error",
]


class ApiError(Exception):
    """A request that is not answered. `retry_after` is in seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: Kind = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind: Kind = kind
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """Return the HTTP form."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def unavailable(message: str, *, retry_after: int = 5) -> ApiError:
    """The worker is not there (yet, or any more)."""
    return ApiError(
        503, message, kind="server_error", code="model_unavailable", retry_after=retry_after
    )


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Where a route's client writes what the worker may refuse."""

    prompt: str = "messages"
    schema: str = "response_format"


# fault -> status, code, field, what to say; {got} and {limit} are numbers from the worker.
_FAULTS: Final[dict[Fault, tuple[int, str, str | None, str]]] = {
    Fault.PROMPT_TOO_LONG: (
        400,
        "context_length_exceeded",
        "{prompt}",
        "the request needs {got} tokens; this model is served with a context of {limit}",
    ),
    Fault.PROMPT_EMPTY: (400, "prompt_empty", "{prompt}", "the prompt has no tokens"),
    Fault.BAD_TOKEN: (
        400,
        "unknown_token",
        "{prompt}",
        "field '{prompt}': token {got} is not in the model's vocabulary of {limit}",
    ),
    Fault.BAD_BIAS: (
        400,
        "unknown_token",
        "logit_bias",
        "field 'logit_bias': token {got} is not in the model's vocabulary of {limit}",
    ),
    Fault.NO_TEMPLATE: (
        400,
        "no_chat_template",
        "{prompt}",
        "this model was admitted without a chat template; use /v1/completions",
    ),
    Fault.TEMPLATE_REFUSED: (
        400,
        "template_refused",
        "{prompt}",
        "the model's chat template does not accept these messages (roles, order or content)",
    ),
    Fault.TEMPLATE_WITHOUT_TOOLS: (
        400,
        "unsupported_field",
        "tools",
        "unsupported field 'tools': the model's chat template has no place for tools",
    ),
    Fault.BAD_SCHEMA: (
        400,
        "unsupported_schema",
        "{schema}",
        "field '{schema}': the JSON schema is malformed, allows no value, or cannot be enforced",
    ),
    Fault.SCHEMA_KEYWORD: (
        400,
        "unsupported_schema",
        "{schema}",
        "field '{schema}': the JSON schema uses {keyword}, which cannot be enforced here",
    ),
    Fault.SCHEMA_TOO_BIG: (
        400,
        "schema_too_big",
        "{schema}",
        "field '{schema}': the JSON schema is too large, too deep or too costly",
    ),
    Fault.SCHEMA_UNSUPPORTED_HERE: (
        400,
        "unsupported_field",
        "{schema}",
        "unsupported field '{schema}': this model's tokenizer cannot be held to a schema",
    ),
    Fault.SCHEMA_LIKE_CALL: (
        400,
        "unsupported_schema",
        "{schema}",
        (
            "field '{schema}': this model writes a call as a whole answer in JSON, and an answer of this schema "
            "could be taken for one: list its 'properties', 'name' not beside 'parameters' or 'arguments', forbid "
            "others, or choose a tool"
        ),
    ),
    Fault.TOOL_FORM_UNKNOWN: (
        400,
        "unsupported_field",
        "tools",
        "unsupported field 'tools': the model's chat template shows no form of a call known here",
    ),
    Fault.WRONG_TASK: (
        400,
        "wrong_task",
        "model",
        "this model does not do what this route is for; see /v1/models",
    ),
    Fault.TOO_BIG: (
        400,
        "too_big",
        "n",
        "the request needs {got}, at most {limit} fit at once; ask for fewer choices or fewer tokens",
    ),
    Fault.TOKENIZER_REFUSED: (
        400,
        "tokenizer_refused",
        "{prompt}",
        "field '{prompt}': the model's tokenizer has no tokens for some of this text",
    ),
    Fault.ANSWER_TOO_BIG: (
        400,
        "too_big",
        "{prompt}",
        "field '{prompt}': the answer would have {got} numbers or labels, at most {limit}; ask in several requests",
    ),
    Fault.BUSY: (429, "busy", None, "too many requests are waiting"),
    Fault.OUT_OF_MEMORY: (
        503,
        "out_of_memory",
        None,
        "there was not enough memory for this request; others go on",
    ),
    Fault.INTERNAL: (500, "internal", None, "the worker could not answer"),
}


def bug() -> ApiError:
    """What is said when this program is wrong."""
    return ApiError(
        500, "a bug in pratique; no answer was made", kind="server_error", code="internal"
    )


def note_bug(error: BaseException) -> None:
    """Log which error and where, and nothing else: messages and tracebacks can quote a request."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{PurePath(f.filename).name}:{f.lineno}" for f in reversed(frames[-4:]))
    logging.getLogger("pratique.serve").error("a bug: %s at %s", type(error).__name__, places)


def of_fault(failed: Failed, fields: FieldNames | None = None) -> ApiError:
    """Say in words what the worker said in a code. `fields` are those of the client's route."""
    status, code, param, message = _FAULTS[failed.fault]
    kind: Kind = "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    keyword = _keyword(failed.got)
    fields = fields or FieldNames()
    names = {"prompt": fields.prompt, "schema": "tools" if failed.of_tools else fields.schema}
    return ApiError(
        status,
        message.format(got=failed.got, limit=failed.limit, keyword=keyword, **names),
        kind=kind,
        code=code,
        param=param and param.format(**names),
        retry_after=2 if status in {429, 503} else None,
    )


def _keyword(number: int) -> str:
    """Name a keyword that the worker named by its number (which it may have made up)."""
    return f"'{KEYWORDS[number]}'" if 0 < number < len(KEYWORDS) else KEYWORDS[0]
