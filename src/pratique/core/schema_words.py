"""The words of JSON Schema (drafts 6 to 2020-12), so that a refusal can name one by its number.

The worker never sends prose: it says which of these words it cannot honour, and the gateway, which
has the same list, says it in words.
"""

from typing import Final

KEYWORDS: Final[tuple[str, ...]] = (
    "a keyword that is not JSON Schema's",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalItems",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "if",
    "items",
    "maxContains",
    "minContains",
    "minProperties",
    "multipleOf",
    "not",
    "nullable",
    "oneOf",
    "pattern",
    "patternProperties",
    "propertyNames",
    "then",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
)


def number_of(word: str) -> int:
    """Return a word's number, 0 for what is none."""
    return KEYWORDS.index(word) if word in KEYWORDS else 0
