"""Chat templates only render text: parsed, never rendered, against an allowlist of what that takes."""

import hashlib
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.json_strict import Json
from pratique.vet import templates
from pratique.vet.check import Check, note, refuse
from pratique.vet.fields import configs
from pratique.vet.repo import Repo

_REMEDY: Final = "use the template of the base model, or one that only loops, compares and prints"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo):
        if "chat_template" in config and not _well_formed(config["chat_template"]):
            yield refuse(
                CHECK.id,
                entry.path,
                "chat_template is neither text nor a list of named texts",
                _REMEDY,
            )
    for template in templates.all_templates(repo):
        try:
            templates.facts(repo, template)
        except FormatError as error:
            yield refuse(
                CHECK.id,
                template.path,
                f"{template.place or 'the template'} {error}",
                _REMEDY,
                Severity.CRITICAL,
            )
            continue
        digest = hashlib.sha256(template.source.encode("utf-8", "surrogatepass")).hexdigest()
        yield note(CHECK.id, template.path, f"template {template.name!r} has the digest {digest}")


def _well_formed(value: Json) -> bool:
    if value is None or isinstance(value, str):
        return True
    if isinstance(value, dict):
        return all(isinstance(v, str) for v in value.values())
    return isinstance(value, list) and all(
        isinstance(v, dict)
        and isinstance(v.get("name"), str)
        and isinstance(v.get("template"), str)
        for v in value
    )


CHECK: Final = Check("template", "Templates that only render", Stage.CODE_AND_CONFIG, _run)
