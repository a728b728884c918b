"""All copies of one template are the same text: which of them a loader takes must not matter."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet import templates
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Repo

_REMEDY: Final = "keep one copy (chat_template.jinja), or make all copies the same"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    first: dict[tuple[str, str], templates.Template] = {}
    for template in templates.all_templates(repo):
        folder = (
            template.path.rpartition("/")[0].removesuffix("additional_chat_templates").rstrip("/")
        )
        known = first.setdefault((folder, template.name), template)
        if _text(known) != _text(template):
            yield refuse(
                CHECK.id,
                template.path,
                f"template {shown(template.name)} differs from the one in {shown(known.where)}",
                _REMEDY,
            )


def _text(template: templates.Template) -> str:
    """Jinja drops one newline at the end, and reads all line ends alike."""
    return template.source.replace("\r\n", "\n").removesuffix("\n")


CHECK: Final = Check("template-copies", "One template, not two", Stage.CODE_AND_CONFIG, _run)
