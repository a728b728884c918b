"""Chat templates rendered for standard conversations: what they lose, emit, and let users forge."""

from collections.abc import Iterator

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.jinja_gate import examine
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.gather import Forms, tokenizers_in
from pratique.vet.tokenizer.problem import findings
from pratique.vet.tokenizer.template import problems_of_template

ID = "tokenizer-template"


def templates_of(repo: Repo, forms: Forms) -> list[tuple[str, str]]:
    """Return (path, text) of the templates that transformers would use for this tokenizer.

    A jinja file comes before tokenizer_config's field. Named templates (a list) are all returned.
    """
    prefix = f"{forms.folder}/" if forms.folder else ""
    found: list[tuple[str, str]] = []
    path = f"{prefix}chat_template.jinja"
    if repo.here(path):
        try:
            found.append((path, repo.text(path)))
        except FormatError:
            return found  # the check of text says why
    for settings in forms.settings:
        value = (settings.values or {}).get("chat_template")
        if isinstance(value, str):
            found.append((settings.form, value))
        elif isinstance(value, list):
            rows = [row.get("template") for row in value if isinstance(row, dict)]
            found.extend((settings.form, row) for row in rows if isinstance(row, str))
    return found


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield templates that lose text or do not render, and notes on markers that can be forged."""
    del policy
    for forms in tokenizers_in(repo):
        table = forms.table()
        roles = {
            role: token.content
            for special in forms.settings
            for role, token in special.roles.items()
        }
        for path, text in dict.fromkeys(templates_of(repo, forms)):
            try:
                examine(text)
            except FormatError:
                continue  # the template gate refuses it; what it refuses is never rendered
            yield from findings(ID, problems_of_template(path, text, table, roles))


CHECK = Check(
    ID, "The chat template keeps what is said, and its markers are tokens", Stage.TOKENIZER, run
)
