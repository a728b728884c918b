"""Which code files loading would run, and whose allowance each needs."""

import hashlib
import json
from datetime import date
from types import SimpleNamespace

import pytest

from pratique.core.bundle import ForeignRepository
from pratique.core.foreign import Pin
from pratique.core.policy import Allowance, Policy
from pratique.errors import ApprovalNeeded, ServeError, VerificationRefused
from pratique.serve.launch import named_code
from pratique.serve.own_code import CodeFile, code_reached, require_allowed

TODAY = date(2030, 1, 1)
AUTO = {"auto_map": {"AutoModel": "modeling_a.A"}}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def bundle(tmp_path):
    """Return what stands for an admitted bundle with these files."""

    def make(files, *allowances, approvals=1, foreign=(), variants=()):
        listed = []
        payload = tmp_path
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            elsewhere = name.startswith(("foreign/", "variants/"))
            listed_as = name if elsewhere else f"model/{name}"
            path = payload / listed_as
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            listed.append(
                SimpleNamespace(path=listed_as, sha256=digest(data), size=len(data), chunks=())
            )
        signed = SimpleNamespace(
            signer=SimpleNamespace(file="approver.sig"),
            approval=SimpleNamespace(allowances=allowances),
        )
        return SimpleNamespace(
            label="a@0", model_dir=payload / "model", files=tuple(listed), approvals=(signed,) * approvals,
            permitted_variants=variants,
            document=SimpleNamespace(
                source=SimpleNamespace(repo="a/b", commit="0" * 40),
                foreign=tuple(ForeignRepository(repo=p.repo, commit=p.commit) for p in foreign),
            ),
        )  # fmt: skip

    return make


def reached(admitted) -> dict[str, str]:
    return {file.path: file.check for file in code_reached(admitted)}


def allowance(data: bytes, **changes) -> Allowance:
    values = {
        "check": "remote-code", "digest": digest(data), "reason": "read by two", "owner": "olga",
        "expires": TODAY,
    }  # fmt: skip
    return Allowance(**(values | changes))


def policy(*allowances: Allowance) -> Policy:
    return Policy(schema="pratique.policy/v1", name="p", allow=allowances)


@pytest.mark.parametrize(
    "config", [{}, {"auto_map": None}, {"auto_map": {}}, {"x": "auto_map"}, {"auto_maps": "a.B"}]
)
def test_a_model_without_code_of_its_own_reaches_none(bundle, config):
    files = {"config.json": config, "convert.py": b"import os\n", "log.json": b"{NaN"}
    assert code_reached(bundle(files)) == ()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("config.json", AUTO),
        ("config.json", {"text_config": [{"deep": AUTO}]}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": [None, "modeling_a.A"]}}),
        ("config.4.0.json", AUTO),
    ],
)
def test_every_file_that_is_imported_is_reached_and_no_other(bundle, name, config):
    files = {
        name: config,
        "modeling_a.py": b"def f():\n    from .b import x\n    from . import pkg, missing\n",
        "b.py": b"from .sub.c import y\nimport d\n",
        "sub/c.py": b"from ..modeling_a import f\n",
        "pkg/__init__.py": b"",
        "d.py": b"",
        "other.py": b"",
        "custom_generate/generate.py": b"from .g import h\n",
        "custom_generate/g.py": b"",
    }
    own = dict.fromkeys(("modeling_a.py", "b.py", "sub/c.py", "pkg/__init__.py"), "remote-code")
    assert reached(bundle(files)) == own | {
        "custom_generate/generate.py": "custom-generate",
        "custom_generate/g.py": "custom-generate",
    }


@pytest.mark.parametrize(
    "reference",
    [
        "evil/repo--modeling_a.A",
        "absent.A",
        "A",
        "",
        7,
        True,
        "../modeling_a.A",
        "a/b--absent.A",
        "a/b---modeling_a.A",
        "A/B--modeling_a.A",
        "a/b--../modeling_a.A",
    ],
)
def test_code_that_is_not_in_the_bundle_is_never_served(bundle, reference):
    files = {"config.json": {"auto_map": {"AutoModel": reference}}, "modeling_a.py": b""}
    with pytest.raises(ServeError):
        code_reached(bundle(files))


@pytest.mark.parametrize("source", [b"def f(:\n", b"\xff", b"x = 1\n" * 800_000])
def test_code_that_nobody_can_read_is_never_served(bundle, source):
    with pytest.raises(ServeError, match="Python"):
        code_reached(bundle({"config.json": AUTO, "modeling_a.py": source}))


@pytest.mark.parametrize("data", [b'{"auto_map": {}, "auto_map": {"A": "m.A"}}', b"{", b"\xff{}"])
def test_a_configuration_that_is_not_strict_json_is_never_served(bundle, data):
    with pytest.raises(ServeError):
        code_reached(bundle({"config.json": data}))


def test_a_file_that_changed_since_admission_is_refused(bundle):
    admitted = bundle({"config.json": {}})
    (admitted.model_dir / "config.json").write_text(json.dumps(AUTO))
    with pytest.raises(VerificationRefused, match="not what was admitted"):
        code_reached(admitted)


CODE = b"class A: pass\n"
FILES = {"config.json": AUTO, "modeling_a.py": CODE}


@pytest.mark.parametrize(
    "more", [{}, {"repo": "a/b"}, {"commit": "0" * 40}, {"path": "modeling_a.py"}]
)
def test_policy_and_approval_that_name_the_digest_allow_it(bundle, more):
    given = allowance(CODE, **more)
    admitted = bundle(FILES, given)
    require_allowed(code_reached(admitted), admitted, policy=policy(given), today=TODAY)


WRONG = [
    {"check": "custom-generate"}, {"digest": digest(b"other")}, {"repo": "a/c"},
    {"commit": "1" * 40}, {"path": "other.py"}, {"expires": date(2029, 12, 31)},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("side", ["policy", "approval"])
def test_an_allowance_for_something_else_allows_nothing(bundle, wrong, side):
    good, bad = allowance(CODE), allowance(CODE, **wrong)
    admitted = bundle(FILES, bad if side == "approval" else good)
    rules = policy(bad if side == "policy" else good)
    with pytest.raises(ApprovalNeeded, match="modeling_a"):
        require_allowed(code_reached(admitted), admitted, policy=rules, today=TODAY)


def test_without_an_approval_nothing_is_allowed(bundle):
    admitted = bundle(FILES, approvals=0)
    code = (CodeFile("remote-code", "modeling_a.py", digest(CODE)),)
    with pytest.raises(ApprovalNeeded):
        require_allowed(code, admitted, policy=policy(allowance(CODE)), today=TODAY)


# --- copies, each of which may be loaded in the model's place --------------------------------------

OTHER = b"class A: other = True\n"
WITH_COPY = {
    **FILES,
    "variants/int8/config.json": AUTO,
    "variants/int8/modeling_a.py": OTHER,
}


@pytest.mark.parametrize("side", ["policy", "approval"])
def test_code_of_a_copy_needs_its_own_allowance(bundle, side):
    both, one = (allowance(CODE), allowance(OTHER)), (allowance(CODE),)
    late = (allowance(CODE), allowance(OTHER, expires=date(2029, 12, 31)))
    for fewer in (one, late):
        admitted = bundle(WITH_COPY, *(fewer if side == "approval" else both), variants=("int8",))
        rules = policy(*(fewer if side == "policy" else both))
        with pytest.raises(ApprovalNeeded, match="modeling_a"):
            require_allowed(code_reached(admitted), admitted, policy=rules, today=TODAY)
    admitted = bundle(WITH_COPY, *both, variants=("int8",))
    require_allowed(code_reached(admitted), admitted, policy=policy(*both), today=TODAY)


def test_a_copy_that_may_not_be_loaded_needs_none(bundle):
    assert [file.digest for file in code_reached(bundle(WITH_COPY))] == [digest(CODE)]


def test_a_copy_with_the_code_of_the_model_needs_no_more(bundle):
    files = {**WITH_COPY, "variants/int8/modeling_a.py": CODE}
    assert len(code_reached(bundle(files, variants=("int8",)))) == 1


def test_a_copy_puts_nothing_under_the_models_name(bundle):
    """What a copy finds under that name is what the model's own configuration put there."""
    config = {"auto_map": {"AutoModel": "a/b--modeling_a.A"}}
    files = {**WITH_COPY, "variants/int8/config.json": config}
    admitted = bundle(files, variants=("int8",))
    code = code_reached(admitted)
    assert {file.digest for file in code} == {digest(CODE), digest(OTHER)}
    assert named_code(admitted, code) == ()


# --- code of another repository ---------------------------------------------------------------------

PIN = Pin("other/repo", "5" * 40)
ELSEWHERE = {"auto_map": {"AutoModel": "other/repo--modeling_a.A"}}
THERE = f"foreign/{PIN.label}"
FOREIGN = {
    "config.json": ELSEWHERE,
    f"{THERE}/modeling_a.py": b"from .b import x\n",
    f"{THERE}/b.py": b"x = 1\n",
    f"{THERE}/unreached.py": b"",
    "modeling_a.py": b"x = 2\n",
}
PINNED = Allowance(
    check="foreign-code", foreign=PIN.text, reason="read by two", owner="olga", expires=TODAY
)


def test_the_pin_and_each_file_that_is_reached_count_and_nothing_of_ours(bundle):
    admitted = bundle(FOREIGN, foreign=(PIN,))
    code = code_reached(admitted)
    assert {(c.path, c.check) for c in code} == {
        (PIN.text, "foreign-code"),
        ("other/repo: modeling_a.py", "remote-code"),
        ("other/repo: b.py", "remote-code"),
    }
    (named,) = named_code(admitted, code)
    assert (named.repo, named.directory) == (PIN.repo, str(admitted.model_dir.parent / THERE))
    assert {file.path for file in named.files} == {"modeling_a.py", "b.py"}


@pytest.mark.parametrize("side", ["policy", "approval"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_the_pin_does_not_allow_the_files_nor_the_files_the_pin(bundle, side, missing):
    whole = (PINNED, allowance(b"from .b import x\n"), allowance(b"x = 1\n"))
    fewer = tuple(a for i, a in enumerate(whole) if i != missing)
    admitted = bundle(FOREIGN, *(fewer if side == "approval" else whole), foreign=(PIN,))
    rules = policy(*(fewer if side == "policy" else whole))
    with pytest.raises(ApprovalNeeded, match="other/repo"):
        require_allowed(code_reached(admitted), admitted, policy=rules, today=TODAY)
    admitted = bundle(FOREIGN, *whole, foreign=(PIN,))
    require_allowed(code_reached(admitted), admitted, policy=policy(*whole), today=TODAY)


@pytest.mark.parametrize(
    "change", [{"foreign": f"other/repo@{'6' * 40}"}, {"expires": date(2029, 12, 31)},
               {"foreign": f"Other/repo@{'5' * 40}"}, {"repo": "a/c"}],
)  # fmt: skip
def test_another_pin_allows_nothing(bundle, change):
    values = {"check": "foreign-code", "foreign": PIN.text, "reason": "read by two",
              "owner": "olga", "expires": TODAY}  # fmt: skip
    files = (allowance(b"from .b import x\n"), allowance(b"x = 1\n"))
    admitted = bundle(FOREIGN, PINNED, *files, foreign=(PIN,))
    rules = policy(Allowance(**(values | change)), *files)
    with pytest.raises(ApprovalNeeded, match=PIN.text) as refused:
        require_allowed(code_reached(admitted), admitted, policy=rules, today=TODAY)
    assert PIN.text in refused.value.hint


@pytest.mark.parametrize("reference", ["other/repo--absent.A", "Other/repo--modeling_a.A"])
def test_what_the_bundle_does_not_carry_of_it_is_never_served(bundle, reference):
    config = {"auto_map": {"AutoModel": reference}}
    with pytest.raises(ServeError):
        code_reached(bundle({**FOREIGN, "config.json": config}, foreign=(PIN,)))


def test_its_own_name_means_its_own_files(bundle):
    config = {"auto_map": {"AutoModel": "a/b--modeling_a.A"}}
    files = {"config.json": config, "modeling_a.py": b"from .b import x\n", "b.py": b""}
    admitted = bundle(files)
    code = code_reached(admitted)
    assert {(c.path, c.check) for c in code} == {
        ("modeling_a.py", "remote-code"), ("b.py", "remote-code"),
    }  # fmt: skip
    (named,) = named_code(admitted, code)
    assert (named.repo, named.directory) == ("a/b", str(admitted.model_dir))
