"""Credentials in a repository are refused: whoever carries them inside publishes them there.

Only forms that cannot be anything else (prefix, length, alphabet); documented examples pass.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import text
from pratique.vet.check import Check, refuse
from pratique.vet.repo import MIB, Entry, NotHere, Repo
from pratique.vet.roles import Role

_MAX_SEARCHED: Final = 64 * MIB
_NOT_SEARCHED: Final = frozenset(
    {Role.TOKENIZER, Role.TOKENIZER_MODEL, Role.IMAGE, Role.MEDIA, Role.ARRAY, Role.EVENTS, Role.TORCH,
     Role.GGUF, Role.ONNX, Role.ONNX_DATA, Role.KERAS, Role.TFLITE, Role.FLAX, Role.FOREIGN,
     Role.NATIVE, Role.ARCHIVE, Role.SAVED_MODEL, Role.WEIGHTS}
)  # fmt: skip
_PATTERNS: Final = {
    "a Hugging Face token": r"\bhf_(?:oauth_)?[A-Za-z]{2}[A-Za-z0-9]{30,40}\b|\bapi_org_[A-Za-z]{30,40}\b",
    "an AWS access key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "an AWS secret key": r"(?i:aws_?secret_?(?:access_?)?key)[\"'\s:=]{1,6}[A-Za-z0-9/+=]{40}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b|\bgithub_pat_[A-Za-z0-9_]{60,}\b",
    "a GitLab token": r"\bgl(?:pat|dt|rt|cbt)-[A-Za-z0-9_-]{20,}\b",
    "an OpenAI key": r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}\b|\bsk-(?:proj-)?[A-Za-z0-9]{40,}\b",
    "an Anthropic key": r"\bsk-ant-[a-z]+\d{2}-[A-Za-z0-9_-]{40,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b|\bya29\.[A-Za-z0-9_-]{40,}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{20,}\b|hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{20,}\b",
    "a PyPI token": r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{40,}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b|//[^\s]*:_authToken=\S{20,}",
    "a Weights & Biases key": r"(?i:wandb[_-]?api[_-]?key)[\"'\s:=]{1,6}[0-9a-f]{40}\b",
    "a private key": r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?-----\s*[A-Za-z0-9+/=\\]",
    "an Azure key": r"(?i:AccountKey)=[A-Za-z0-9+/]{86}==",
    "a token in a URL": r"https?://[^\s/:@\"'<>]{1,64}:[^\s/@\"'<>]{8,128}@[\w.-]+",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}\b",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b",
    "a Discord or Telegram token": r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b",
    "a password in a settings file": r"(?m:^[ \t]*(?:export[ \t]+)?[A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|APIKEY|TOKEN)=[\"']?[A-Za-z0-9+/_!@#%^&*-]{16,}[\"']?[ \t]*$)",
}
_NAMES: Final = tuple(_PATTERNS)
_EXAMPLE: Final = re.compile(
    r"(?i)example|placeholder|your|xxxx|dummy|redacted|\.\.\.|…|<|\*\*\*|changeme|user(?:name)?:pass"
)
_KEY_FILES: Final = re.compile(
    r"(?i)(?:id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.npmrc|\.pypirc|credentials|.*\.(?:p12|pfx|jks|keystore|kdbx|ppk))\Z"
)
_MIN_ENTROPY: Final = 3.0


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        if _KEY_FILES.match(entry.name):
            yield _refused(entry, "is a file that holds credentials, by its name")
        elif (
            entry.role not in _NOT_SEARCHED
            and entry.size <= _MAX_SEARCHED
            and repo.here(entry.path)
        ):
            try:
                searched = text.decode(repo.read(entry.path, _MAX_SEARCHED))
            except FormatError:
                continue
            if (what := _secret_in(searched)) is not None:
                yield _refused(entry, what)
        elif entry.role is Role.WEIGHTS:
            yield from _metadata(repo, entry)


def _metadata(repo: Repo, entry: Entry) -> Iterator[Finding]:
    try:
        metadata = repo.safetensors(entry.path).metadata
    except (NotHere, FormatError):
        return
    if (what := _secret_in("\n".join(metadata.values()))) is not None:
        yield _refused(entry, f"{what} in its metadata")


def _refused(entry: Entry, what: str) -> Finding:
    return refuse(
        CHECK.id,
        entry.path,
        what,
        "revoke the credential, then remove it from the history",
        Severity.HIGH,
    )


@functools.cache
def _any_pattern() -> re.Pattern[str]:
    """All patterns as one linear-time automaton: no input makes it slow."""
    import re2  # noqa: PLC0415  # compiled once, in the child

    pattern: re.Pattern[str] = re2.compile(
        "|".join(f"(?P<p{i}>{p})" for i, p in enumerate(_PATTERNS.values()))
    )
    return pattern


def _secret_in(searched: str) -> str | None:
    for match in _any_pattern().finditer(searched):
        value = match.group()
        kind = next(_NAMES[int(name[1:])] for name, v in match.groupdict().items() if v is not None)
        if kind == "a private key" or (
            not _EXAMPLE.search(value) and _entropy(value[-32:]) >= _MIN_ENTROPY
        ):
            line = searched.count("\n", 0, match.start()) + 1
            return f"holds {kind} (line {line})"
    return None


def _entropy(value: str) -> float:
    """Bits per character: repeated letters and words score low."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


CHECK: Final = Check("secrets", "No credentials", Stage.CODE_AND_CONFIG, _run)
