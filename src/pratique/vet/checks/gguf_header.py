"""GGUF files are read strictly: counts, lengths, offsets, types, alignment, nothing behind."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.gguf import GgufHeader
from pratique.vet.check import Check, refuse
from pratique.vet.repo import NotHere, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "convert the model again with a current llama.cpp"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.GGUF):
        try:
            header = repo.gguf(entry.path)
        except NotHere:
            continue
        except FormatError as error:
            yield refuse(
                CHECK.id,
                entry.path,
                f"is no well-formed GGUF file: {error}",
                _REMEDY,
            )
            continue
        for problem in _vocabulary(header):
            yield refuse(CHECK.id, entry.path, problem, _REMEDY)


def _vocabulary(header: GgufHeader) -> Iterator[str]:
    """The arrays that describe tokens have one length; special ids and embedding rows fit them."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list):
        return
    for name in ("scores", "token_type"):
        values = header.metadata.get(f"tokenizer.ggml.{name}")
        if isinstance(values, list) and len(values) != len(tokens):
            yield f"has {len(tokens)} tokens but {len(values)} {name}"
    for key, value in header.metadata.items():
        if (
            key.startswith("tokenizer.ggml.")
            and key.endswith("_token_id")
            and isinstance(value, int)
            and not 0 <= value < len(tokens)
            and value not in {2**32 - 1, -1}
        ):
            yield f"{key} is {value}, but there are {len(tokens)} tokens"
    for tensor in header.tensors:
        is_table = tensor.name in {"token_embd.weight", "output.weight"} and len(tensor.shape) == 2
        if is_table and tensor.shape[1] < len(tokens):
            yield f"{tensor.name} has {tensor.shape[1]} rows for {len(tokens)} tokens"


CHECK: Final = Check("gguf-header", "Strict GGUF", Stage.HEADERS, _run)
