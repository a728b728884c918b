"""README, docs and `--help` are true: every command shown exists with its options, every link leads somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pratique.cli.main import VERBS, cli

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^\s*(?:\$ |# )?(pratique [^`#]+?)(?:\s{2,}#.*|\s+#.*)?$")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
SPLIT = re.compile(r"\s(?:&&|\|\||\||>|<|2>|;)\s?.*$")


def blocks(text: str) -> Iterator[str]:
    """Lines of fenced blocks that show a command."""
    inside = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside:
            yield line


def shown_commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in blocks(page.read_text(encoding="utf-8")):
            if (found := COMMAND.match(line)) and "…" not in found[1]:
                yield page.name, SPLIT.sub("", found[1]).strip()


def help_examples() -> Iterator[tuple[str, str]]:
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        if command is not None and command.epilog:
            for part in re.split(r"\s{3,}|&&", command.epilog.replace("Example:", "   ")):
                if part.strip().startswith("pratique ") and "…" not in part:
                    yield verb, SPLIT.sub("", part.strip())


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """Follow the words into groups; return the command and what is left."""
    command: click.Command = cli
    context = click.Context(cli)
    words = words[1:]
    while isinstance(command, click.Group):
        while words and words[0].startswith("-"):
            words = words[2:] if words[0] == "--home" else words[1:]
        if not words:
            break
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize(
    ("where", "line"), [*shown_commands(), *help_examples()], ids=lambda value: value[:60]
)
def test_shown_commands_exist(where: str, line: str) -> None:
    words = shlex.split(line.replace("[", "").replace("]", ""), comments=True)
    command, rest = resolve(words)
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {
        "--help",
        "-h",
    }
    for word in rest:
        if word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            assert word.split("=")[0] in options, f"{where}: {line}: {command.name} has no {word}"


def test_commands_are_shown() -> None:
    """The parser above finds something: an empty parametrisation would pass unseen."""
    assert len(list(shown_commands())) > 12
    assert len(list(help_examples())) > 12


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb and every command below one, by what a person types."""
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        if command is not None:
            yield verb, command
        if isinstance(command, click.Group):
            yield from ((f"{verb} {name}", below) for name, below in command.commands.items())


@pytest.mark.parametrize(("typed", "command"), [*commands()])
def test_help_teaches(typed: str, command: click.Command) -> None:
    assert command.help, f"{typed} has no help"
    taught = f"{command.epilog} {command.help}"
    assert re.search(rf"Example:  pratique {typed}\b", taught), f"{typed} --help shows no example"


@pytest.mark.parametrize(("typed", "command"), [*commands()])
def test_options_are_documented(typed: str, command: click.Command) -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for option in (p for p in command.params if isinstance(p, click.Option)):
        known = [name for name in option.opts if re.search(rf"(?<![\w-]){name}(?![\w-])", pages)]
        assert known or option.opts == ["--json"], f"no page names {typed} {option.opts}"


def test_exit_codes_are_documented() -> None:
    from pratique import errors

    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    codes = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.PratiqueError)
    }
    for code in codes | {0, 130}:
        assert f"| {code} |" in page
