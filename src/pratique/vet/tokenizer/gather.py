"""Find every form of every tokenizer in a repository, and parse each once.

Forms in one folder belong to one tokenizer. A form that does not parse is a problem of its own; the
others are still looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from pratique.core.ids import shown
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.tokenizer import (
    AddedToken,
    SpecialTokens,
    Vocabulary,
    parse_added_tokens,
    parse_sentencepiece,
    parse_special_tokens,
    parse_tekken,
    parse_tiktoken,
    parse_tokenizer_config,
    parse_tokenizer_json,
    parse_vocab_json,
    parse_vocab_txt,
)
from pratique.formats.tokenizer.tables import parse_merges
from pratique.vet.repo import NotHere, Repo
from pratique.vet.roles import Role
from pratique.vet.tokenizer.problem import Problem

T = TypeVar("T")
_ROLES: Final = (Role.TOKENIZER, Role.TOKENIZER_MODEL, Role.TOKENIZER_CONFIG, Role.ADDED_TOKENS)
_MAX_BYTES: Final = 128 * 2**20
# A translation model's two sentencepiece files share one vocab.json that is neither's own table.
_PAIRED: Final = frozenset({"source.spm", "target.spm"})


@dataclass(frozen=True, slots=True)
class Forms:
    """One folder's tokenizer. `vocabularies` are in the order in which the loader prefers them."""

    folder: str
    vocabularies: tuple[Vocabulary, ...]
    settings: tuple[SpecialTokens, ...]
    added: tuple[tuple[str, tuple[AddedToken, ...]], ...]
    problems: tuple[Problem, ...]

    @property
    def base(self) -> Vocabulary | None:
        """The form that the loader would use."""
        return self.vocabularies[0] if self.vocabularies else None

    @property
    def comparable(self) -> tuple[Vocabulary, ...]:
        """Forms that must agree with `base`."""
        return tuple(v for v in self.vocabularies[1:] if v.form.rsplit("/", 1)[-1] not in _PAIRED)

    def table(self) -> dict[str, int]:
        """Token → id of the preferred form with everything that is laid over it."""
        table = self.base.ids() if self.base else {}
        for _, tokens in self.added:
            for token in tokens:
                if token.id is not None:
                    table.setdefault(token.content, token.id)
        for special in self.settings:
            for token in special.decoder:
                if token.id is not None:
                    table.setdefault(token.content, token.id)
        return table


def tokenizers_in(repo: Repo) -> tuple[Forms, ...]:
    """Return every folder's tokenizer, parsed once a repository. Empty before stage TOKENIZER."""
    if repo.stage < Stage.TOKENIZER:
        return ()
    folders = sorted({entry.folder for entry in repo.with_role(*_ROLES)})
    return tuple(
        repo.cached("tokenizer-forms", folder, lambda folder: _gather(repo, folder))
        for folder in folders
    )


def _gather(repo: Repo, folder: str) -> Forms:
    problems: list[Problem] = []
    vocabularies: list[Vocabulary] = []
    for path, parse in _readers(repo, folder):
        if (found := _tried(path, parse, problems)) is not None:
            vocabularies.append(found)
    settings: list[SpecialTokens] = []
    added: list[tuple[str, tuple[AddedToken, ...]]] = []
    prefix = f"{folder}/" if folder else ""
    readers: tuple[tuple[str, Callable[[object, str], SpecialTokens]], ...] = (
        ("tokenizer_config.json", parse_tokenizer_config),
        ("special_tokens_map.json", parse_special_tokens),
    )
    for name, read in readers:
        path = prefix + name
        if repo.here(path) and (special := _tried(path, _json(repo, read), problems)) is not None:
            settings.append(special)
    path = prefix + "added_tokens.json"
    if repo.here(path):
        tokens = _tried(path, _json(repo, parse_added_tokens), problems)
        if tokens is not None:
            added.append((path, tokens))
    path = prefix + "merges.txt"
    if repo.here(path) and not repo.here(prefix + "vocab.json"):
        _tried(path, lambda p: parse_merges(repo.read(p, _MAX_BYTES), p), problems)
    return Forms(folder, tuple(vocabularies), tuple(settings), tuple(added), tuple(problems))


def _readers(repo: Repo, folder: str) -> Iterator[tuple[str, Callable[[str], Vocabulary]]]:
    """Yield (path, parser) for each vocabulary form in the folder, preferred first."""
    prefix = f"{folder}/" if folder else ""
    here = [
        entry.path
        for entry in repo.with_role(*_ROLES)
        if entry.folder == folder and repo.here(entry.path)
    ]
    if (path := prefix + "tokenizer.json") in here:
        yield path, lambda p: parse_tokenizer_json(repo.json(p), p)
    if (path := prefix + "tekken.json") in here:
        yield path, lambda p: parse_tekken(repo.json(p), p)
    for path in sorted(here):
        if repo.role(path) is Role.TOKENIZER_MODEL:
            yield path, lambda p: _model_file(repo.read(p, _MAX_BYTES), p)
        elif path.endswith(".tiktoken"):
            yield path, lambda p: parse_tiktoken(repo.read(p, _MAX_BYTES), p)
    if (path := prefix + "vocab.json") in here:
        merges = prefix + "merges.txt"
        pairs = merges if merges in here else None
        yield (
            path,
            lambda p: parse_vocab_json(
                repo.json(p), None if pairs is None else repo.read(pairs, _MAX_BYTES), p
            ),
        )
    if (path := prefix + "vocab.txt") in here:
        yield path, lambda p: parse_vocab_txt(repo.read(p, _MAX_BYTES), p)


def _json(repo: Repo, read: Callable[[object, str], T]) -> Callable[[str], T]:
    return lambda path: read(repo.json(path), path)


def _model_file(data: bytes, path: str) -> Vocabulary:
    """`tokenizer.model` is sentencepiece's protobuf, or (Llama 3) tiktoken's lines."""
    first = data[:64].split(b"\n", 1)[0].split(b" ")
    if len(first) == 2 and first[1].isdigit():
        return parse_tiktoken(data, path)
    return parse_sentencepiece(data, path)


def _tried(path: str, parse: Callable[[str], T], problems: list[Problem]) -> T | None:
    try:
        return parse(path)
    except NotHere:
        return None
    except FormatError as error:
        problems.append(Problem(path, _named(path, error.message)))
        return None


def _named(path: str, message: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return message if name in message else f"{shown(name)}: {message}"
