"""Chat templates by allowlist: only nodes, filters, tests, names and methods that render text.

The template is parsed, never rendered. Jinja's own sandbox has been left before (CVE-2024-56201,
CVE-2024-56326, CVE-2025-27516), so nothing that an escape needs is let in: no underscore names, no
`attr`, no computed subscripts, no format strings with fields, no imports, no huge constants.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pratique.core.ids import shown
from pratique.errors import FormatError

if TYPE_CHECKING:
    from jinja2 import nodes

MAX_TEMPLATE: Final = 1_000_000
_MAX_NODES: Final = 100_000
_MAX_NUMBER: Final = 10_000_000

_NODES: Final = frozenset(
    "Template Output TemplateData If For Assign AssignBlock Macro Call CallBlock FilterBlock Filter "
    "Test Name NSRef Const List Dict Pair Tuple Getattr Getitem Slice Compare Operand And Or Not Add "
    "Sub Mul Div FloorDiv Mod Neg Pos Concat CondExpr Keyword Break Continue ExprStmt With Scope".split()
)
_FILTERS: Final = frozenset(
    "tojson trim length count upper lower title capitalize join default d first last list items "
    "dictsort string int float replace selectattr rejectattr select reject map sort unique reverse "
    "indent safe escape e forceescape batch slice round abs sum min max groupby wordcount truncate "
    "wordwrap center striptags urlencode".split()
)
_TESTS: Final = frozenset(
    "defined undefined none string mapping iterable sequence number integer float boolean true false "
    "equalto eq ne gt ge lt le greaterthan lessthan in even odd sameas divisibleby lower upper == != "
    "> >= < <=".split()
)
_METHODS: Final = frozenset(
    "strip lstrip rstrip split rsplit splitlines startswith endswith replace lower upper title "
    "capitalize find rfind index count join isdigit isalpha isspace isalnum isnumeric isdecimal "
    "isupper islower removeprefix removesuffix zfill ljust rjust center items keys values get copy "
    "append extend update pop insert cycle changed partition rpartition format swapcase".split()
)
_CALLABLE: Final = frozenset(
    "range namespace raise_exception strftime_now dict loop caller joiner cycler".split()
)
_FORBIDDEN_NAMES: Final = frozenset(
    "self lipsum config request url_for get_flashed_messages super eval exec open getattr globals locals vars builtins os sys".split()
)
_FORBIDDEN_ATTRIBUTES: Final = frozenset(
    "mro func_code func_globals func_defaults func_closure gi_frame gi_code gi_yieldfrom cr_frame "
    "cr_code cr_await cr_origin ag_frame ag_code ag_await tb_frame tb_next tb_lasti im_class im_func "
    "im_self f_back f_globals f_locals f_builtins f_code co_consts co_code co_names format_map "
    "environment undefined_to_none".split()
)


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """What a template that passed holds. `texts`: every literal it can emit or compare with.

    `triggers`: literals that it looks for inside message text. `clock`: whether it asks for the date.
    """

    texts: tuple[str, ...]
    triggers: tuple[str, ...]
    clock: bool
    clock_compared: bool


def examine(source: str) -> TemplateFacts:
    """Parse and check a template. Raises FormatError naming what is outside the allowlist."""
    if len(source) > MAX_TEMPLATE:
        raise FormatError(f"is longer than {MAX_TEMPLATE} characters")
    tree = _parse(source)
    found = list(_all_nodes(tree))
    macros = {str(getattr(n, "name", "")) for n in found if type(n).__name__ == "Macro"}
    for node in found:
        _check_node(node, macros)
    return _facts(found)


def _parse(source: str) -> "nodes.Template":
    # Only repositories with a template pay for jinja2.
    from jinja2 import TemplateError, TemplateSyntaxError  # noqa: PLC0415

    from pratique.formats._jinja import environment  # noqa: PLC0415

    try:
        return environment().parse(source)
    except TemplateSyntaxError as error:
        raise FormatError(f"is not a template: {error.message} (line {error.lineno})") from error
    except (TemplateError, RecursionError, ValueError, OverflowError, AssertionError) as error:
        raise FormatError(f"is not a readable template ({type(error).__name__})") from error


def _all_nodes(tree: "nodes.Template") -> Iterator["nodes.Node"]:
    pending: list[nodes.Node] = [tree]
    count = 0
    while pending:
        node = pending.pop()
        count += 1
        if count > _MAX_NODES:
            raise FormatError(f"has more than {_MAX_NODES} parts")
        yield node
        pending.extend(node.iter_child_nodes())


def _refuse(node: "nodes.Node", what: str) -> FormatError:
    return FormatError(f"{what} (line {node.lineno})")


def _check_node(node: "nodes.Node", macros: set[str]) -> None:
    kind = type(node).__name__
    if kind not in _NODES:
        raise _refuse(node, f"uses {kind.lower()}, which no chat template needs")
    if kind in _RULES:
        _RULES[kind](node, macros)


def _check_name(node: "nodes.Node", macros: set[str]) -> None:
    name: str = node.name  # type: ignore[attr-defined]  # the rule is registered for Name nodes only
    if name.startswith("_") or (name in _FORBIDDEN_NAMES and name not in macros):
        if node.ctx == "store" and not name.startswith("__"):  # type: ignore[attr-defined]  # Name
            return
        raise _refuse(node, f"names {shown(name)}")


def _check_attribute(node: "nodes.Node", _: set[str]) -> None:
    name: str = node.attr  # type: ignore[attr-defined]  # Getattr and NSRef nodes only
    if name.startswith("_") or name in _FORBIDDEN_ATTRIBUTES:
        raise _refuse(node, f"reaches for the attribute {shown(name)}")


def _check_item(node: "nodes.Node", _: set[str]) -> None:
    index: nodes.Node = node.arg  # type: ignore[attr-defined]  # Getitem nodes only
    kind = type(index).__name__
    if kind == "Const":
        value = index.value  # type: ignore[attr-defined]  # Const
        if isinstance(value, str) and (value.startswith("_") or value in _FORBIDDEN_ATTRIBUTES):
            raise _refuse(node, f"reaches for the item {shown(value)}")
        return
    if kind in {"Concat", "Mod", "Filter", "Call", "CondExpr"} and _has_text(index):
        raise _refuse(node, "computes the name of what it reaches for")
    if kind == "Add" and _has_text(index):
        raise _refuse(node, "computes the name of what it reaches for")


def _has_text(node: "nodes.Node") -> bool:
    pending = [node]
    while pending:
        item = pending.pop()
        if type(item).__name__ == "Const" and isinstance(item.value, str):  # type: ignore[attr-defined]  # Const
            return True
        pending.extend(item.iter_child_nodes())
    return False


def _check_filter(node: "nodes.Node", _: set[str]) -> None:
    name: str = node.name  # type: ignore[attr-defined]  # Filter and Test nodes only
    if name not in _FILTERS:
        raise _refuse(node, f"uses the filter {shown(name)}")
    for text in _constants(node):
        if any(p.startswith("_") or p in _FORBIDDEN_ATTRIBUTES for p in text.split(".")) and name in {
            "map", "selectattr", "rejectattr", "sort", "groupby", "sum", "min", "max", "unique", "join",
        }:  # fmt: skip
            raise _refuse(node, f"reaches for {shown(text)} by a filter")


def _constants(node: "nodes.Node") -> Iterator[str]:
    children = [*node.args, *(k.value for k in node.kwargs)]  # type: ignore[attr-defined]  # Filter
    for child in children:
        if type(child).__name__ == "Const" and isinstance(child.value, str):
            yield child.value


def _check_test(node: "nodes.Node", _: set[str]) -> None:
    name: str = node.name  # type: ignore[attr-defined]  # Test nodes only
    if name not in _TESTS:
        raise _refuse(node, f"uses the test {shown(name)}")


def _check_call(node: "nodes.Node", macros: set[str]) -> None:
    target: nodes.Node = node.node  # type: ignore[attr-defined]  # Call nodes only
    kind = type(target).__name__
    if kind == "Name":
        name = target.name  # type: ignore[attr-defined]  # Name
        if name not in _CALLABLE and name not in macros:
            raise _refuse(node, f"calls {shown(name)}")
    elif kind == "Getattr":
        name = target.attr  # type: ignore[attr-defined]  # Getattr
        if name not in _METHODS:
            raise _refuse(node, f"calls the method {shown(name)}")
        if name == "format":
            _check_format(target.node)  # type: ignore[attr-defined]  # Getattr
    else:
        raise _refuse(node, "calls something computed")


def _check_format(target: "nodes.Node") -> None:
    value = getattr(target, "value", None)
    if not isinstance(value, str) or any(c in value for c in "._[!"):
        raise _refuse(target, "formats text by fields")


def _check_constant(node: "nodes.Node", _: set[str]) -> None:
    value = node.value  # type: ignore[attr-defined]  # Const nodes only
    if isinstance(value, int | float) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise _refuse(node, "uses a number that would make it run without end")
    if isinstance(value, str) and "__" in value and value.strip("_").isidentifier():
        raise _refuse(node, f"names {shown(value)}")


def _check_product(node: "nodes.Node", _: set[str]) -> None:
    for side in (node.left, node.right):  # type: ignore[attr-defined]  # Mul nodes only
        value = getattr(side, "value", 0)
        if isinstance(value, int) and abs(value) > 100_000:
            raise _refuse(node, "repeats something too often")


_RULES: Final = {
    "Name": _check_name,
    "Getattr": _check_attribute,
    "NSRef": _check_attribute,
    "Getitem": _check_item,
    "Filter": _check_filter,
    "Test": _check_test,
    "Call": _check_call,
    "Const": _check_constant,
    "Mul": _check_product,
}


def _facts(found: list["nodes.Node"]) -> TemplateFacts:
    texts: list[str] = []
    triggers: list[str] = []
    clock = compared = False
    for node in found:
        match type(node).__name__:
            case "TemplateData":
                texts.append(node.data)  # type: ignore[attr-defined]  # TemplateData
            case "Const" if isinstance(node.value, str):  # type: ignore[attr-defined]  # Const
                texts.append(node.value)  # type: ignore[attr-defined]  # Const
            case "Compare":
                triggers.extend(_compared(node))
                compared = compared or _names(node, "strftime_now")
            case "Call":
                triggers.extend(_searched(node))
                clock = clock or _names(node.node, "strftime_now")  # type: ignore[attr-defined]  # Call
            case "Filter" if node.name == "replace":  # type: ignore[attr-defined]  # Filter
                triggers.extend(_replaced(node))
            case _:
                pass
    return TemplateFacts(tuple(texts), tuple(triggers), clock, compared)


def _compared(node: "nodes.Node") -> Iterator[str]:
    """Literals compared with, or searched in, something called content or text."""
    sides = [node.expr, *(operand.expr for operand in node.ops)]  # type: ignore[attr-defined]  # Compare
    if any(_is_message_text(side) for side in sides):
        for side in sides:
            yield from _literals(side)


def _searched(node: "nodes.Node") -> Iterator[str]:
    target = node.node  # type: ignore[attr-defined]  # Call
    name = getattr(target, "attr", "")
    if name in {"startswith", "endswith", "find", "count", "index", "rfind", "replace"} and (
        _is_message_text(target.node)
    ):
        for argument in node.args:  # type: ignore[attr-defined]  # Call
            yield from _literals(argument)


def _replaced(node: "nodes.Node") -> Iterator[str]:
    target = node.node  # type: ignore[attr-defined]  # Filter
    if target is not None and _is_message_text(target):
        for argument in node.args:  # type: ignore[attr-defined]  # Filter
            yield from _literals(argument)


def _is_message_text(node: "nodes.Node") -> bool:
    """Whether the expression is a message's text: `content`, `m.content`, `m['content']|lower`."""
    match type(node).__name__:
        case "Name":
            return node.name in {"content", "text", "query", "prompt", "user_message"}  # type: ignore[attr-defined]  # Name
        case "Getattr":
            return node.attr in {"content", "text"}  # type: ignore[attr-defined]  # Getattr
        case "Getitem":
            index = node.arg  # type: ignore[attr-defined]  # Getitem
            return getattr(index, "value", None) in {"content", "text"}
        case "Filter" if node.node is not None:  # type: ignore[attr-defined]  # Filter
            return _is_message_text(node.node)  # type: ignore[attr-defined]  # Filter
        case "Call":
            inner = getattr(node.node, "node", None)  # type: ignore[attr-defined]  # Call
            return inner is not None and _is_message_text(inner)
        case _:
            pass
    return False


def _literals(node: "nodes.Node") -> Iterator[str]:
    kind = type(node).__name__
    if kind == "Const" and isinstance(node.value, str):  # type: ignore[attr-defined]  # Const
        yield node.value  # type: ignore[attr-defined]  # Const
    elif kind in {"List", "Tuple"}:
        for item in node.items:  # type: ignore[attr-defined]  # List, Tuple
            yield from _literals(item)


def _names(node: "nodes.Node", name: str) -> bool:
    pending = [node]
    while pending:
        item = pending.pop()
        if getattr(item, "name", None) == name:
            return True
        pending.extend(item.iter_child_nodes())
    return False
