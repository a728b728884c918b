"""A licence that the policy lets in passes; a missing, unknown, restricting or contradicted one needs an owner."""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import Digest, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.card import Yaml
from pratique.vet import cards, licences
from pratique.vet.check import Check, approve, note
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

_REMEDY: Final = (
    "find out under which terms the model is offered, and allow it by digest with a reason"
)
_IS_LICENCE: Final = re.compile(r"(?i)(?:.*[-_.])?(?:licen[cs]e|copying|unlicense)(?:[-_.].*)?\Z")
_BODY_CONTRADICTS: Final = re.compile(
    r"(?i)(?:for|to) (?:strictly )?non-?commercial (?:use|purposes|research)(?: purposes)? only|"
    r"not (?:be )?(?:intended |licensed |allowed |used )?for commercial (?:use|purposes)|"
    r"commercial use is (?:not|prohibited|forbidden)|non-?commercial licen[cs]e"
)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    if not _readable(repo):
        return
    said, problems = _declared(repo)
    families = dict(_texts(repo))
    if not said and not any(families.values()):
        yield _ask(repo, "", "no licence is declared, neither in the card nor in a LICENSE file")
        return
    if not said:
        said = [family for family in families.values() if family]
    for problem in problems:
        yield _ask(repo, "README.md", problem)
    found = [licence for words in said for licence in licences.parts(words)]
    rules = policy.licences
    for licence in found:
        names = {n.lower() for n in (licence.said, licence.key, licence.spdx) if n}
        if names & {d.lower() for d in rules.deny}:
            yield _ask(repo, "", f"the policy denies the licence {shown(licence.said)}")
        elif (
            not names & {a.lower() for a in rules.allow}
            and licence.category not in rules.allow_categories
        ):
            yield _ask(
                repo, "", f"the licence is {shown(licence.said)} ({licence.category.lower()})"
            )
    yield from _contradictions(repo, found, families)
    yield note(CHECK.id, "", f"licence: {', '.join(sorted({f.spdx or f.key for f in found}))}")


def _readable(repo: Repo) -> bool:
    """At a stage where card and licence files cannot all be here yet, nothing is said."""
    if repo.stage >= Stage.CONTENT:
        return True
    return all(
        repo.here(e.path) for e in repo.with_role(Role.CARD) if e.path.lower() == "readme.md"
    )


def _ask(repo: Repo, path: str, message: str) -> Finding:
    return approve(CHECK.id, path, message, _REMEDY, digest=_evidence(repo, message))


def _evidence(repo: Repo, message: str) -> Digest:
    """What an allowance names: the finding and the very card and licence texts it was made on."""
    entries = sorted(repo.with_role(Role.CARD, Role.LICENCE, Role.CONFIG), key=lambda e: e.path)
    here = [e.path for e in entries if repo.here(e.path) and "/" not in e.path]
    lines = [message, *(f"{repo.sha256(path)}  {path}" for path in here)]
    return Digest(hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest())


def _declared(repo: Repo) -> tuple[list[str], list[str]]:
    """The licence words of card and Hub, and what contradicts itself there."""
    said: list[str] = []
    problems: list[str] = []
    card = cards.main(repo)
    if card is not None:
        said.extend(_words(card.fields.get("license")))
        name = card.fields.get("license_name")
        if said == ["other"] and isinstance(name, str) and name:
            said = [name]
        if "license" in card.repeated:
            problems.append("the card declares its licence twice")
    if not said:
        said.extend(_gguf(repo))
    tag = repo.candidate.hub.get("license")
    if isinstance(tag, str) and tag and tag.lower() not in {s.lower() for s in said}:
        if said:
            problems.append(f"the card says {shown(said[0])}, the Hub says {shown(tag)}")
        said.append(tag)
    return said, problems


def _gguf(repo: Repo) -> Iterator[str]:
    """A lone GGUF file says it in its own metadata."""
    for entry in repo.with_role(Role.GGUF):
        try:
            value = repo.gguf(entry.path).metadata.get("general.license")
        except FormatError:
            continue
        if isinstance(value, str) and value:
            yield value
            return


def _words(value: "Yaml | None") -> list[str]:
    if isinstance(value, str):
        return [value] if value.strip() not in {"", "~", "null"} else []
    if isinstance(value, list):
        return [v for v in value if isinstance(v, str) and v.strip()]
    return []


def _texts(repo: Repo) -> Iterator[tuple[str, str | None]]:
    for entry in repo.with_role(Role.LICENCE):
        if _IS_LICENCE.match(entry.name) and "/" not in entry.path and repo.here(entry.path):
            try:
                yield entry.path, licences.of_text(repo.text(entry.path, 2**20))
            except FormatError:
                continue


def _contradictions(
    repo: Repo, found: list[licences.Licence], families: dict[str, str | None]
) -> Iterator[Finding]:
    known = [f for f in found if f.category not in {licences.UNKNOWN, licences.CUSTOM}]
    for path, family in families.items():
        text = repo.text(path, 2**20)
        if family and known and not any(licences.agree(f.key, family) for f in known):
            yield _ask(
                repo, path, f"the text is {family}, the declared licence {shown(known[0].said)}"
            )
        elif family in licences.PERMISSIVE_TEXTS and (words := licences.non_commercial(text)):
            yield _ask(repo, path, f"the text is {family} but adds {shown(words)}")
        elif family is None and (words := licences.restricts(text)):
            yield _ask(repo, path, f"the text limits use: {shown(words)}")
    card = cards.main(repo)
    permissive = any(f.category in {"Permissive", "Public Domain"} for f in found)
    if card is not None and permissive and (match := _BODY_CONTRADICTS.search(card.body)):
        yield _ask(
            repo,
            "README.md",
            f"the card declares {shown(found[0].said)} but says {shown(match.group())}",
        )


CHECK: Final = Check("licence", "A licence somebody answers for", Stage.CODE_AND_CONFIG, _run)
