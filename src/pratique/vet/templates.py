"""Every copy of a chat template that a repository carries, from every place a loader looks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pratique.errors import FormatError
from pratique.formats import jinja_gate
from pratique.formats.json_strict import Json
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

DEFAULT: Final = "default"
_JSON_PLACES: Final = (
    Role.TOKENIZER_CONFIG,
    Role.PROCESSOR,
    Role.CHAT_TEMPLATE,
    Role.CONFIG,
    Role.GENERATION,
)


@dataclass(frozen=True, slots=True)
class Template:
    """One template: `path` and `place` say where, `name` which (`default`, `tool_use`, …)."""

    path: str
    place: str
    name: str
    source: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}: {self.place}" if self.place else self.path


def all_templates(repo: Repo) -> tuple[Template, ...]:
    """Every template whose file is here and readable, GGUF metadata included."""
    return repo.cached("templates", "", lambda _: tuple(_find(repo)))


def facts(repo: Repo, template: Template) -> jinja_gate.TemplateFacts:
    """Parse a template once. Raises FormatError."""
    return repo.cached("jinja", template.source, jinja_gate.examine)


def _find(repo: Repo) -> Iterator[Template]:
    for entry in repo.files:
        if not repo.here(entry.path):
            continue
        try:
            if entry.role is Role.CHAT_TEMPLATE and ".jinja" in entry.name.lower():
                source = repo.text(entry.path, 4 * jinja_gate.MAX_TEMPLATE)
                yield Template(entry.path, "", _file_name(entry.name), source)
            elif entry.role in _JSON_PLACES:
                yield from _in_json(entry.path, repo.json(entry.path))
            elif entry.role is Role.GGUF:
                yield from _in_gguf(repo, entry.path)
        except FormatError:
            continue


def _file_name(name: str) -> str:
    stem = name.lower().rsplit(".jinja", 1)[0]
    return DEFAULT if stem == "chat_template" else stem


def _in_json(path: str, document: Json) -> Iterator[Template]:
    value = document.get("chat_template") if isinstance(document, dict) else None
    if isinstance(value, str):
        yield Template(path, "chat_template", DEFAULT, value)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict) and isinstance(item.get("template"), str):
                name = str(item.get("name", DEFAULT))
                yield Template(path, f"chat_template[{name}]", name, str(item["template"]))
    elif isinstance(value, dict):
        for name, source in value.items():
            if isinstance(source, str):
                yield Template(path, f"chat_template.{name}", name, source)


def _in_gguf(repo: Repo, path: str) -> Iterator[Template]:
    prefix = "tokenizer.chat_template"
    for key, value in repo.gguf(path).metadata.items():
        if key.startswith(prefix) and isinstance(value, str):
            yield Template(path, key, key[len(prefix) + 1 :] or DEFAULT, value)
