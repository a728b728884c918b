"""Against the model: every id has an embedding row, and the ids that config names are special."""

from collections.abc import Iterator, Mapping, Sequence

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.roles import Role
from pratique.vet.tokenizer.gather import Forms, tokenizers_in
from pratique.vet.tokenizer.model_fit import (
    embedding_rows,
    problems_of_ends,
    problems_of_eos,
    problems_of_exchange,
    problems_of_suppression,
    problems_with_ids,
    problems_with_length,
    problems_with_rows,
)
from pratique.vet.tokenizer.problem import findings

ID = "tokenizer-model"
_ID_ROLES = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
)


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield tokens without embedding rows, and ids in config that are no special tokens."""
    del policy
    for forms in tokenizers_in(repo):
        if forms.base is None:
            continue
        yield from _judge(repo, forms)


def _judge(repo: Repo, forms: Forms) -> Iterator[Finding]:
    assert forms.base is not None  # the caller looked
    prefix = f"{forms.folder}/" if forms.folder else ""
    config = repo.object(prefix + "config.json") or {}
    generation = repo.object(prefix + "generation_config.json") or {}
    table = forms.table()
    rows = embedding_rows(_shapes(repo, forms.folder))
    vocab_size = _vocab_size(config)
    yield from findings(ID, problems_with_rows(forms.base.form, table, rows, vocab_size))
    names = {number: text for text, number in table.items()}
    special = _special(forms)
    size = min((m.rows for m in rows), default=vocab_size if type(vocab_size) is int else None)
    for form, values in (
        (prefix + "config.json", config if _generates(config) else {}),
        (prefix + "generation_config.json", generation),
    ):
        ids = {role: values[role] for role in _ID_ROLES if values.get(role) is not None}
        yield from findings(ID, problems_with_ids(form, ids, names, special, size))
    yield from _roles(forms, config if _generates(config) else {}, prefix, table)
    eos = next((s.roles["eos_token"].content for s in forms.settings if "eos_token" in s.roles), "")
    yield from findings(
        ID,
        problems_of_eos(
            prefix + "config.json",
            config.get("eos_token_id"),
            generation.get("eos_token_id"),
            table.get(eos),
            eos,
        ),
    )
    yield from findings(ID, problems_of_suppression(prefix + "generation_config.json", generation))
    limits = [(s.values or {}).get("model_max_length") for s in forms.settings]
    yield from findings(
        ID, problems_with_length(prefix, limits, config.get("max_position_embeddings"))
    )


def _roles(
    forms: Forms, config: Mapping[str, object], prefix: str, table: Mapping[str, int]
) -> Iterator[Finding]:
    """The tokens that the settings name for a role: special ones, numbered as config numbers them."""
    marked = _marked(forms)
    for settings in forms.settings:
        roles = {role: token.content for role, token in settings.roles.items()}
        yield from findings(ID, problems_of_ends(settings.form, roles, table, marked))
        yield from findings(ID, problems_of_exchange(prefix + "config.json", config, roles, table))


def _generates(config: Mapping[str, object]) -> bool:
    """Only generating models use these ids; others carry a parent class's defaults (CLIP's 0 and 2)."""
    names = config.get("architectures")
    return isinstance(names, list) and any(
        isinstance(n, str)
        and n.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"))
        for n in names
    )


def _vocab_size(config: Mapping[str, object]) -> object:
    text = config.get("text_config")
    if "vocab_size" not in config and isinstance(text, dict):
        return text.get("vocab_size")
    return config.get("vocab_size")


def _marked(forms: Forms) -> frozenset[str]:
    """Tokens that some vocabulary itself holds as added or control."""
    found = {a.content for v in forms.vocabularies for a in v.added}
    found |= {
        p.text for v in forms.vocabularies for p in v.pieces if p.role in {"control", "unknown"}
    }
    return frozenset(found | {t.content for _, tokens in forms.added for t in tokens})


def _special(forms: Forms) -> frozenset[str]:
    found = set(_marked(forms))
    for special in forms.settings:
        found |= {t.content for t in (*special.decoder, *special.additional)}
        found |= {t.content for t in special.roles.values()}
    return frozenset(found)


def _shapes(repo: Repo, folder: str) -> dict[str, tuple[Sequence[int], str]]:
    """Name → (shape, file) over the safetensors files of this folder. Malformed ones speak elsewhere."""
    shapes: dict[str, tuple[Sequence[int], str]] = {}
    for entry in repo.with_role(Role.WEIGHTS):
        if entry.folder != folder:
            continue
        try:
            header = repo.safetensors(entry.path)
        except FormatError:
            continue
        for name, tensor in header.tensors.items():
            shapes[name] = (tensor.shape, entry.path)
    return shapes


CHECK = Check(ID, "Tokenizer and model belong together", Stage.TOKENIZER, run)
