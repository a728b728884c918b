"""Runs the checks over one candidate. Runs inside a confined child; see `pratique.vet.judging`.

Fails closed: a check that raises is a refusal, a file that changed is a refusal, too many names are
a refusal. One pass of hashing gives the manifest whose digest the verdict is about.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from pratique.core.candidate import Candidate, EntryKind
from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.foreign import shown_path
from pratique.core.ids import Digest, parse_relpath
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.vet.check import Check, refuse
from pratique.vet.examined import FAILED_CHECK, Examined
from pratique.vet.registry import CHECKS
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.evidence import tokenizer_evidence

STEADY: Final = "steady"
_MAX_FINDINGS: Final = 5_000
_OF_A_MODEL: Final = frozenset({"card", "licence"})
# Once something is refused, larger files are not read any more: 100 GB of zeros cost no time.
_REFUSED_LIMIT: Final = 64 * 2**20


def examine(
    candidate: Candidate,
    policy: Policy,
    stage: Stage,
    note: Callable[[str], None] = lambda _: None,
    checks: tuple[Check, ...] = CHECKS,
) -> Examined:
    """Run all checks up to `stage`, hash what is here, and return both. Never raises for content."""
    repo = Repo(candidate, stage, note)
    findings, digest = _examined(repo, policy, stage, checks)
    foreign: list[tuple[str, Digest]] = []
    for pin in (one.pin for one in candidate.foreign):
        code = repo.foreign[pin.repo]
        found, its_digest = _examined(code, policy, Stage.CONTENT, _for_code(checks))
        foreign.append((pin.text, its_digest))
        findings.extend(replace(f, path=shown_path(pin.repo, f.path)) for f in found if f.blocks)
    if len(findings) > _MAX_FINDINGS:
        findings.sort(key=lambda f: f.disposition.value, reverse=True)
        dropped = len(findings) - _MAX_FINDINGS
        del findings[_MAX_FINDINGS:]
        findings.append(
            refuse(
                FAILED_CHECK,
                "",
                f"{dropped} more findings are not shown",
                "fix these first",
                Severity.LOW,
            )
        )
    files = tuple(repo.files)
    size = sum(f.size for f in files)
    evidence = _evidence(repo, stage)
    return Examined(digest, len(files), size, tuple(findings), evidence, tuple(foreign))


def _examined(
    repo: Repo, policy: Policy, stage: Stage, checks: tuple[Check, ...]
) -> tuple[list[Finding], Digest]:
    """Run checks over one repository and hash it. What changed meanwhile is a refusal."""
    findings = list(_gated(repo, policy, stage, checks))
    digest = _digest(repo, stage, findings)
    findings.extend(
        refuse(
            STEADY, path, "changed while it was being vetted", "vet a copy that nobody writes to"
        )
        for path in repo.changed()
    )
    return findings, digest


def _for_code(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks that speak of files; a few files of code have no card and no licence of their own."""
    return tuple(check for check in checks if check.id not in _OF_A_MODEL)


def _evidence(repo: Repo, stage: Stage) -> tuple[tuple[str, str], ...]:
    """What people read beside the verdict. It decides nothing, so a failure leaves it out."""
    if stage < Stage.CONTENT or repo.overfull:
        return ()
    try:
        return tuple(tokenizer_evidence(repo))
    except FormatError:
        return ()


def _gated(
    repo: Repo,
    policy: Policy,
    stage: Stage,
    checks: tuple[Check, ...],
) -> Iterator[Finding]:
    for check in checks:
        if check.stage > stage or (repo.overfull and check is not checks[0]):
            continue
        try:
            yield from check.run(repo, policy)
        except Exception as error:  # noqa: BLE001  # whatever hostile input broke, it is a refusal
            yield refuse(
                check.id,
                repo.reading,
                f"the check could not be finished ({type(error).__name__}): nothing was understood",
                "report this file (SECURITY.md); what cannot be checked is not let in",
            )


def _digest(repo: Repo, stage: Stage, findings: list[Finding]) -> Digest:
    if stage < Stage.CONTENT or repo.overfull:
        listing = "".join(f"{e.size} {e.claimed or '-'} {e.path!a}\n" for e in repo.entries)
        return Digest(hashlib.sha256(listing.encode()).hexdigest())
    refused = any(f.disposition is Disposition.REFUSE for f in findings)
    digests = _hash_all(repo, findings, _REFUSED_LIMIT if refused else None)
    unread = [e for e in repo.files if repo.here(e.path) and e.path not in digests]
    try:
        if unread:
            raise FormatError("not all files were hashed")
        return Manifest.of(
            FileEntry(parse_relpath(path), repo.size(path), digest)
            for path, digest in digests.items()
        ).digest
    except FormatError:
        # Refused already, for its names or for what else it holds: no manifest will ever bear this
        # digest. It pins what was read, and the sizes of what was not worth reading any more.
        known = sorted(digests.items(), key=repr)
        lines = "".join(f"{digest}  {path!a}\n" for path, digest in known)
        lines += "".join(f"unread {e.size}  {e.path!a}\n" for e in unread)
        return Digest(hashlib.sha256(lines.encode()).hexdigest())


def _hash_all(repo: Repo, findings: list[Finding], limit: int | None) -> dict[str, Digest]:
    """Hash every file that is here; with a `limit`, only those of at most so many bytes."""
    paths = [
        e.path
        for e in repo.entries
        if e.kind is EntryKind.FILE and repo.here(e.path) and (limit is None or e.size <= limit)
    ]
    digests: dict[str, Digest] = {}

    def one(path: str) -> Digest | FormatError:
        try:
            return repo.sha256(path)
        except FormatError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, result in zip(paths, pool.map(one, paths), strict=True):
            if isinstance(result, FormatError):
                findings.append(
                    refuse(
                        STEADY,
                        path,
                        str(result),
                        "vet a copy that nobody writes to, all of it readable",
                    )
                )
            else:
                digests[path] = result
    return digests
