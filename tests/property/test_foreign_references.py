"""References to code elsewhere, and what code imports: never out of the folder, one spelling each."""

import ast

from hypothesis import given
from hypothesis import strategies as st

from pratique.core.ids import parse_repo_id, path_problem
from pratique.errors import FormatError
from pratique.formats import python_code
from pratique.formats.auto_map import KEY, is_foreign, parse_foreign, references

_PARTS = st.sampled_from(
    [
        "other",
        "repo",
        "/",
        "--",
        "-",
        ".",
        "..",
        "x",
        "M",
        "\\",
        " ",
        "@",
        "\u200b",
        "nul",
        "\n",
        "é",
        "~",
    ]
)
_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)


@given(st.lists(_PARTS, max_size=9).map("".join) | st.text(max_size=40))
def test_what_is_understood_is_a_file_at_the_top_of_a_repository(text: str) -> None:
    try:
        target = parse_foreign(text)
    except FormatError:
        return
    assert parse_repo_id(target.repo) == target.repo
    assert "/" not in target.file
    assert path_problem(target.file) is None
    assert f"{target.repo}--{target.file.removesuffix('.py')}.{target.name}" == text
    # As the library reads it.
    repo, rest = text.split("--")
    module, name = rest.split(".")
    assert (repo, f"{module}.py", name) == (target.repo, target.file, target.name)


@given(st.sampled_from(["a", "a/b", "A.b/c_d"]), _NAMES, _NAMES)
def test_the_documented_spelling_is_understood(repo: str, module: str, name: str) -> None:
    text = f"{repo}--{module}.{name}"
    assert is_foreign(text)
    try:
        target = parse_foreign(text)
    except FormatError:
        assert path_problem(f"{module}.py") is not None  # a device name, such as NUL
        return
    assert (target.repo, target.file, target.name) == (repo, f"{module}.py", name)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([KEY, "x", "AutoModel"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_every_leaf_below_the_key_is_found_and_no_other(value: object) -> None:
    def below(item: object, inside: bool) -> list[object]:
        if isinstance(item, dict):
            return [leaf for k, v in item.items() for leaf in below(v, inside or k == KEY)]
        if isinstance(item, list):
            return [leaf for v in item for leaf in below(v, inside)]
        return [item] if inside and item is not None else []

    found = list(references(value))  # type: ignore[arg-type]
    assert sorted(map(repr, found)) == sorted(map(repr, below(value, inside=False)))


@given(
    st.lists(_NAMES, min_size=1, max_size=4).map("/".join),
    st.integers(1, 6),
    st.lists(_NAMES, max_size=3).map(".".join),
    _NAMES,
)
def test_imports_stay_inside(path: str, level: int, module: str, name: str) -> None:
    source = f"from {'.' * level}{module} import {name} as y"
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a keyword for a name
        return
    for found in python_code.imported_files(tree, f"{path}.py"):
        assert found.endswith(".py")
        assert not found.startswith("/")
        assert ".." not in found.split("/")
