"""Prompts become tokens here, in the child: templates and tokenizers are the model's own code.

Clients cannot bring a template. What goes wrong is a `Refused` with a fault and numbers, never text.
"""

import json
from pathlib import Path
from typing import Any

from pratique.core.wire import Fault, Generate, Tokenize, ToolForm
from pratique.jobs.worker_bytes import bytes_of


class Refused(Exception):
    """A request that cannot be answered; carries what the gateway is told."""

    def __init__(self, fault: Fault, *, got: int = 0, limit: int = 0) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.got = got
        self.limit = limit


class Prompts:
    """The admitted tokenizer and chat template."""

    def __init__(self, tokenizer: Any, *, context: int, vocabulary: int) -> None:  # noqa: ANN401 - transformers
        self._tokenizer = tokenizer
        self._context = context
        self._vocabulary = vocabulary
        template = getattr(tokenizer, "chat_template", None)
        self.template = bool(template)
        self.tools = "tools" in str(template or "")
        self.tool_form = form_of(str(template or ""))

    def decode(self, ids: list[int]) -> str:
        """Return the text of `ids` without special tokens."""
        return str(
            self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def piece(self, token: int) -> tuple[str, bytes]:
        """Return the text of one token, special ones too, and its bytes."""
        text = str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return text, bytes_of(str(self._tokenizer.convert_ids_to_tokens(token)), text)

    def of_generate(self, request: Generate) -> list[int]:
        """Return a request's prompt as tokens. Raises Refused."""
        if request.tokens is not None:
            ids = list(request.tokens)
        elif request.messages is not None:
            ids = self._templated(request.messages, request.tools)
        else:
            ids = self._encode(request.text or "", special=True)
        self._check(ids)
        for token in request.sampling.logit_bias:
            if token >= self._vocabulary:
                raise Refused(Fault.BAD_BIAS, got=token, limit=self._vocabulary)
        return ids

    def of_tokenize(self, request: Tokenize) -> list[int]:
        """Return the tokens of a text or of templated messages. Raises Refused."""
        if request.messages is not None:
            return self._templated(request.messages, ())
        return self._encode(request.text or "", special=request.special)

    def _check(self, ids: list[int]) -> None:
        if not ids:
            raise Refused(Fault.PROMPT_EMPTY)
        if max(ids) >= self._vocabulary:
            raise Refused(Fault.BAD_TOKEN, got=max(ids), limit=self._vocabulary)
        if len(ids) >= self._context:
            raise Refused(Fault.PROMPT_TOO_LONG, got=len(ids), limit=self._context)

    def _encode(self, text: str, *, special: bool) -> list[int]:
        try:
            return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])
        except MemoryError:
            raise
        except (
            Exception
        ) as error:  # plain `Exception`, where a vocabulary has no word for the unknown
            raise Refused(Fault.TOKENIZER_REFUSED) from error

    def _templated(
        self, messages: tuple[dict[str, Any], ...], tools: tuple[dict[str, Any], ...]
    ) -> list[int]:
        """Render the admitted template and encode it.

        Special tokens that a client wrote into its text are encoded as that text: only the template
        can open or close a role.
        """
        if not self.template:
            raise Refused(Fault.NO_TEMPLATE)
        if tools and not self.tools:
            raise Refused(Fault.TEMPLATE_WITHOUT_TOOLS)
        if tools and self.tool_form is ToolForm.NONE:
            raise Refused(Fault.TOOL_FORM_UNKNOWN)
        try:
            ids = self._tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) or None,
                tokenize=True,
                add_generation_prompt=True,
                sanitize_control_tokens=True,
                return_dict=False,
            )
        except Exception as error:  # a template may raise anything, `raise_exception` above all
            raise Refused(Fault.TEMPLATE_REFUSED) from error
        if not isinstance(ids, list):
            raise Refused(Fault.TEMPLATE_REFUSED)
        return [int(token) for token in ids]


def form_of(template: str) -> ToolForm:
    """Return how a template has its model write calls. NONE where it is not one of the known forms."""
    if "tools" not in template:
        return ToolForm.NONE
    if "<tool_call>" in template:
        other = "<function=" in template or "<arg_key>" in template  # calls in the manner of XML
        return ToolForm.NONE if other else ToolForm.TAGGED
    if "[TOOL_CALLS]" in template:
        return ToolForm.NONE if "[ARGS]" in template else ToolForm.LISTED
    if '"parameters": dictionary' in template:  # as Llama 3 is told: "respond in the format …"
        return ToolForm.BARE
    return ToolForm.NONE


def generation_defaults(directory: Path) -> dict[str, Any]:
    """Return what generation_config.json itself says (not what transformers adds)."""
    try:
        found = json.loads((directory / "generation_config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
