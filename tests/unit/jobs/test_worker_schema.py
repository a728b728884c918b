"""What a client's schema may say: everything it says is enforced, or it is refused by name."""

from typing import Any

import pytest

from pratique.core.schema_words import KEYWORDS
from pratique.core.wire import Fault
from pratique.jobs.worker_schema import MOST_BYTES, SchemaRefused, check_schema


def refused(schema: dict[str, Any]) -> SchemaRefused:
    with pytest.raises(SchemaRefused) as caught:
        check_schema(schema)
    return caught.value


GOOD: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": True, "$ref": {"type": "string"}}, "required": ["a"]},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}},
    {"$ref": "#/properties/x", "properties": {"x": {"enum": [1, {"not": "a keyword"}]}}},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 10**9},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x", "title": "T"},
    {"anyOf": [{"type": "string", "pattern": "^a"}, {"type": "null"}], "default": None},
    {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"oneOf": [{"const": 1}, {"const": "x"}], "discriminator": {"propertyName": "k"}},
    {"type": "number", "multipleOf": 0.01, "minimum": 0},
    {"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}},
    {"type": "object", "minProperties": 2, "required": ["a", "b"]},
    {"prefixItems": [{"type": "integer"}, False], "items": False},
    {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"pattern": "x"}}, "description": "d"},
]


@pytest.mark.parametrize("schema", GOOD)
def test_what_can_be_enforced_passes(schema):
    assert check_schema(schema).startswith("{")


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"not": {}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"properties": {"a": {"items": {"if": {}}}}}, "if"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "integer", "nullable": True}, "nullable"),
        ({"$dynamicRef": "#a"}, "$dynamicRef"),
        ({"$ref": "http://10.0.0.1/x"}, "$ref"),
        ({"$ref": "#/$defs/none"}, "$ref"),
        ({"$ref": "#/default", "default": {"uniqueItems": True}}, "$ref"),
        ({"$ref": "#/enum/0", "enum": [{"uniqueItems": True}]}, "$ref"),
        ({"$ref": "file:///etc/passwd"}, "$ref"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "$schema"),
        ({"properties": {"a": {"$schema": "draft-07"}}}, "$schema"),
        ({"properties": {"a": {"$id": "http://x"}}}, "$id"),
        ({"type": "array", "items": [{}]}, "items"),
        ({"type": "object", "minProperties": 2}, "minProperties"),
        ({"multipleOf": 99991}, "multipleOf"),
        ({"multipleOf": 1e-300 * 7.123456}, "multipleOf"),
        ({"multipleOf": 0}, "multipleOf"),
        ({"multipleOf": True}, "multipleOf"),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "pattern"),
        ({"allOf": [{"$ref": "#/$defs/a"}, {}], "$defs": {"a": {"pattern": "a"}}}, "pattern"),
        ({"anyOf": [{"pattern": "a"}], "minLength": 3}, "pattern"),
        ({"$ref": "#/$defs/a", "anyOf": [{}], "$defs": {"a": {"multipleOf": 7}}}, "multipleOf"),
    ],
)
def test_what_cannot_be_enforced_is_named(schema, keyword):
    error = refused(schema)
    assert error.fault is Fault.SCHEMA_KEYWORD
    assert KEYWORDS[error.got] == keyword


@pytest.mark.parametrize(
    "word", ["minimun", "x-guidance", "secret s3cr3t", "", "x" * 1000, "\u202e"]
)
def test_a_word_that_is_none_is_refused_without_being_quoted(word):
    error = refused({"type": "object", word: 1})
    assert (error.fault, error.got) == (Fault.SCHEMA_KEYWORD, 0)
    assert str(error) == "schema_keyword"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 5},
        {"properties": {"a": 5}},
        {"anyOf": {"a": {}}},
        {"items": "x"},
        {"pattern": 5},
        {"patternProperties": ["a"]},
        {"const": "\ud800"},
        {"minimum": float("inf")},
        {"minimum": float("nan")},
    ],
)
def test_what_is_no_schema_is_malformed(schema):
    assert refused(schema).fault is Fault.BAD_SCHEMA


def deep(key: str, levels: int) -> dict[str, Any]:
    schema: Any = {"type": "integer"}
    for _ in range(levels):
        schema = {key: [schema]} if key.endswith("Of") else {key: schema}
    return schema


def chain(links: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(links)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{links}": {"type": "integer"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"const": "x" * MOST_BYTES},
        {"enum": list(range(2_001))},
        {"required": [f"k{at}" for at in range(2_001)]},
        {"properties": {f"k{at}": {} for at in range(501)}},
        {"anyOf": [{} for _ in range(2_001)]},
        {"pattern": "a" * 513},
        {"prefixItems": [{"pattern": "a" * 500} for _ in range(17)]},
        {"patternProperties": {"a" * 513: {}}},
        deep("items", 33),
        deep("allOf", 33),
        deep("additionalProperties", 500),
        deep("items", 100_000),
        chain(501),
    ],
)
def test_bombs_are_too_big(schema):
    error = refused(schema)
    assert error.fault in {Fault.SCHEMA_TOO_BIG, Fault.BAD_SCHEMA}


def test_the_words_are_sorted_and_each_is_there_once():
    assert list(KEYWORDS[1:]) == sorted(set(KEYWORDS[1:]))
