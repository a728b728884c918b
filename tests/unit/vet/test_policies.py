"""Policies: built-in ones load, errors have lines, the schema does not drift."""

import json
from pathlib import Path

import jsonschema
import pytest

from pratique.core.policy import Policy
from pratique.errors import PolicyError
from pratique.formats.policy import built_in_names, load_policy, parse_policy, policy_schema

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["strict", "standard", "example-team"])
def test_built_in(name: str) -> None:
    assert load_policy(name).name == name
    assert name in built_in_names()
    assert load_policy(ROOT / "policies" / f"{name}.toml").digest == load_policy(name).digest


def test_strict_is_the_default_and_first() -> None:
    assert load_policy().name == "strict"
    assert built_in_names()[0] == "strict"


def test_schema_is_generated_from_the_code() -> None:
    assert json.loads((ROOT / "policies/schema.json").read_text()) == policy_schema(), (
        "run: pratique policy schema > policies/schema.json"
    )


def test_schema_accepts_the_example() -> None:
    value = load_policy("example-team").model_dump(mode="json", by_alias=True)
    jsonschema.validate(value, policy_schema())


GOOD = 'schema = "pratique.policy/v1"\nname = "x"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "[vet]\nscan_nann = true\n", "p.toml:4: vet.scan_nann"),
        (GOOD + '[vet]\nscan_nan = "yes"\n', "p.toml:4: vet.scan_nan"),
        (GOOD + '[[allow]]\ncheck = "a"\ndigest = "zz"\n', "p.toml:5: allow.0.digest"),
        (GOOD + '[[allow]]\ncheck = "a"\n\n[[allow]]\ncheck = 7\n', "p.toml:7: allow.1.check"),
        ('schema = "pratique.policy/v2"\nname = "x"\n', "p.toml:1: schema"),
        ('schema = "pratique.policy/v1"\n', "p.toml:1: name"),
        (GOOD + "[vet\n", "line 3"),
        (GOOD + GOOD, "line 3"),
        (GOOD + "no_gate = true\n", "p.toml:3: no_gate"),
        (GOOD + "[serve]\nrungs = []\n", "p.toml:4: serve.rungs"),
    ],
)  # fmt: skip
def test_errors_name_the_line(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(text.encode(), "p.toml")
    assert said in error.value.message
    assert error.value.hint


def test_not_utf8_and_unknown_names() -> None:
    with pytest.raises(PolicyError):
        parse_policy(b"\xff", "p.toml")
    with pytest.raises(PolicyError, match="no policy called"):
        load_policy("lenient")
    with pytest.raises(PolicyError, match="cannot read"):
        load_policy("/nowhere/x.toml")


def test_digest_covers_meaning_not_layout() -> None:
    one = parse_policy(GOOD.encode(), "a")
    other = parse_policy(b'# a comment\nname="x"\nschema="pratique.policy/v1"\n', "b")
    assert isinstance(one, Policy)
    assert one.digest == other.digest
