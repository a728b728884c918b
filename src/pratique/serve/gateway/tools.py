"""Calls of tools in a model's text, in the form that most templates teach: `<tool_call>{…}</tool_call>`.

The text is the model's and nobody vouches for it: what does not parse stays text, a call of a tool
that the client did not offer stays text, and nothing is ever executed here.
"""

import json
import re
import secrets
from typing import Any, Final

from pratique.errors import FormatError
from pratique.formats import json_strict

_CALL: Final = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_LIMITS: Final = json_strict.Limits(size=2**20, depth=32, items=100_000)


def split_calls(text: str, offered: frozenset[str]) -> tuple[str, list[dict[str, Any]]]:
    """Return the text without well-formed calls of offered tools, and those calls in OpenAI's form."""
    calls: list[dict[str, Any]] = []

    def take(found: re.Match[str]) -> str:
        try:
            value = json_strict.parse_object(found.group(1).encode(), _LIMITS)
        except FormatError:
            return found.group(0)
        name, arguments = value.get("name"), value.get("arguments", {})
        if not isinstance(name, str) or name not in offered or not isinstance(arguments, dict):
            return found.group(0)
        calls.append(
            {
                "id": f"call_{secrets.token_hex(12)}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
            }
        )
        return ""

    rest = _CALL.sub(take, text)
    return (rest.strip() if calls else rest), calls
