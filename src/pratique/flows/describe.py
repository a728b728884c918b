"""What is known about one bundle, on a medium or admitted: for `show`, `report` and `diff`.

Looks at signatures and at the few documents that describe the rest, not at the model's bytes: it
answers questions and proves nothing about content. `verify` does that.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pratique.admit.checks import check_listed
from pratique.admit.load import check_signatures
from pratique.admit.shape import (
    MAX_SUMS_BYTES,
    look_at,
    read_signed,
    read_unsigned,
    refusing,
)
from pratique.admit.verify import signed_statement
from pratique.attest.commit_signature import CommitSignature, check_commit_signature
from pratique.attest.install import installed_trust
from pratique.attest.verify import VerifiedStatement
from pratique.core.bundle import (
    DOCUMENT,
    EVIDENCE,
    MODEL,
    PAYLOAD,
    SUMS,
    BundleDocument,
    BundleSource,
    bundle_id_of,
)
from pratique.core.ids import BundleId, Digest, RelPath
from pratique.core.manifest import FileEntry, Manifest, parse_sha256sums
from pratique.core.policy import Policy
from pratique.core.variants import NOT_PROVED
from pratique.errors import UnreadableInput, VerificationRefused
from pratique.evidence.report import Report, html_report
from pratique.formats.bundle import MAX_DOCUMENT_BYTES, parse_bundle_document
from pratique.formats.git import Commit, parse_commit_object
from pratique.store import records
from pratique.store.cas import open_store
from pratique.store.quarantine import hash_tree

_MAX_EVIDENCE: Final = 64 * 2**20
_COMMIT: Final = RelPath("provenance/git/commit")
_VERDICT: Final = RelPath(f"{EVIDENCE}/verdict.json")
_TOKENIZER: Final = RelPath(f"{EVIDENCE}/tokenizer.json")


@dataclass(frozen=True, slots=True)
class Description:
    """One bundle. `statement` is None where the signatures do not hold; `refused` says why.

    `payload` is where its files are, `listed` their digests as SHA256SUMS has them.
    """

    payload: Path
    bundle_id: BundleId
    document: BundleDocument
    listed: Mapping[RelPath, Digest]
    statement: VerifiedStatement | None
    refused: str
    names: tuple[str, ...] = ()
    admitted_at: str | None = None

    def evidence(self, path: RelPath) -> bytes | None:
        """A file of the payload whose bytes are the listed ones, or None if there is none."""
        digest = self.listed.get(path)
        return None if digest is None else read_signed(self.payload, path, digest, _MAX_EVIDENCE)

    def commit(self) -> Commit | None:
        """The commit's author, time and message, as carried. Not tied to the files here."""
        body = self.evidence(_COMMIT)
        return None if body is None else parse_commit_object(body)

    def commit_signature(self, policy: Policy) -> CommitSignature | None:
        """What a signature in the commit is worth under the keys that `policy` lists."""
        commit = self.commit()
        if commit is None:
            return None
        return check_commit_signature(commit, policy.fetch.commit_signing_keys)

    def tokenizer(self) -> dict[str, object] | None:
        """The tokenizer's fingerprint, if the bundle carries one."""
        return _json(self.evidence(_TOKENIZER))

    def verdict(self) -> dict[str, object] | None:
        """The gate's verdict at sealing."""
        return _json(self.evidence(_VERDICT))


def describe(home: Path, reference: str, *, policy: Policy, now: datetime) -> Description:
    """Describe the bundle at a path, or the admitted one of that name.

    Raises UnreadableInput if there is neither, VerificationRefused if its documents contradict.
    """
    path = Path(reference)
    if (path / PAYLOAD).is_dir():
        return _on_medium(path, home, policy=policy, now=now)
    return _admitted(home, reference, policy=policy, now=now)


def _on_medium(bundle: Path, home: Path, *, policy: Policy, now: datetime) -> Description:
    shape = look_at(bundle)
    statement: VerifiedStatement | None = None
    refused = ""
    try:
        trust = installed_trust(home)
        statement = signed_statement(shape, trust=trust, policy=policy, now=now)
    except VerificationRefused as error:
        refused = error.message
    return _described(shape.payload, statement, refused)


def _admitted(home: Path, reference: str, *, policy: Policy, now: datetime) -> Description:
    store = open_store(home)
    record = records.resolve(store, reference)
    statement: VerifiedStatement | None = None
    refused = ""
    try:
        trust = installed_trust(home)
        statement = check_signatures(store, record, trust=trust, policy=policy, now=now)
    except VerificationRefused as error:
        refused = error.message
    names = tuple(a.name for a in records.aliases(store) if a.bundle_id == record.bundle_id)
    return _described(
        store.tree(record.tree), statement, refused, names=names, admitted_at=record.admitted_at
    )


def claimed_source(bundle: Path) -> BundleSource | None:
    """Where a bundle says that it is from, or None if it cannot be read. Nothing shows that it is true."""
    try:
        shape = look_at(bundle)
        return parse_bundle_document(
            read_unsigned(shape.payload, DOCUMENT, MAX_DOCUMENT_BYTES)
        ).source
    except (UnreadableInput, VerificationRefused):
        return None


def _described(
    payload: Path,
    statement: VerifiedStatement | None,
    refused: str,
    *,
    names: tuple[str, ...] = (),
    admitted_at: str | None = None,
) -> Description:
    sums = read_unsigned(payload, SUMS, MAX_SUMS_BYTES)
    with refusing():
        listed = parse_sha256sums(sums)
        if statement is not None and bundle_id_of(sums) != statement.bundle_id:
            raise VerificationRefused(
                "SHA256SUMS is not the signed one", hint="run `pratique verify`"
            )
        if DOCUMENT not in listed:
            raise VerificationRefused("SHA256SUMS does not list bundle.json", hint="seal it again")
        data = read_signed(payload, DOCUMENT, listed[DOCUMENT], MAX_DOCUMENT_BYTES)
        document = parse_bundle_document(data)
        check_listed(document, listed)
    return Description(
        payload=payload,
        bundle_id=bundle_id_of(sums),
        document=document,
        listed=listed,
        statement=statement,
        refused=refused,
        names=names,
        admitted_at=admitted_at,
    )


def _json(data: bytes | None) -> dict[str, object] | None:
    if data is None:
        return None
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# --- rendering ----------------------------------------------------------------------------------------


def report_of(found: Description) -> bytes:
    """The HTML report of a bundle: what was known at sealing, and who signed since."""
    document = found.document
    source = document.source
    verdict = found.verdict() or {}
    facts = [
        ("name", document.label),
        ("source", source.repo or "a local directory"),
        ("commit", source.commit or "none"),
        ("commit proof", document.commit_proof),
        ("taken", document.taken_at),
        ("sealed as of", document.created),
        ("policy", f"{document.policy.name} ({document.policy.digest})"),
        ("set aside", ", ".join(f"{a.path} ({a.reason})" for a in document.aside) or "nothing"),
        *(("variant", f"{v.name}: {v.method} ({NOT_PROVED})") for v in document.variants),
    ]
    return html_report(
        Report(
            title=document.label,
            facts=facts,
            files=[FileEntry(f.path, f.size, f.sha256) for f in document.files],
            state=str(verdict.get("verdict", document.verdict)),
            verdict_rows=_finding_rows(verdict),
            later=[("bundle id", found.bundle_id), *_signature_rows(found)],
            approvals=_approval_rows(found),
            tokenizers=_tokenizers(found),
        )
    )


def _tokenizers(found: Description) -> tuple[Mapping[str, object], ...]:
    listed = (found.tokenizer() or {}).get("tokenizers")
    return tuple(
        one for one in (listed if isinstance(listed, list) else ()) if isinstance(one, dict)
    )


def _finding_rows(verdict: Mapping[str, object]) -> list[tuple[str, ...]]:
    findings = verdict.get("findings")
    keys = ("check", "disposition", "path", "message", "allowed_by")
    return [
        tuple(str(finding.get(key, "")) for key in keys)
        for finding in (findings if isinstance(findings, list) else ())
        if isinstance(finding, dict)
    ]


def _signature_rows(found: Description) -> list[tuple[str, str]]:
    if found.statement is None:
        return [("signatures", f"not accepted here: {found.refused}")]
    rows = [(f"{s.role}", f"{s.person}, {s.identity}") for s in found.statement.signers]
    return [*rows, ("checked against root", found.statement.trust_fingerprint)]


def _approval_rows(found: Description) -> list[tuple[str, ...]]:
    return [
        (
            entry.signer.person,
            f"{entry.approval.expires:%Y-%m-%d}",
            f"enclave {entry.approval.scope.enclave}, use {entry.approval.scope.use}",
            ", ".join(entry.approval.rungs),
            entry.approval.reason,
        )
        for entry in (found.statement.approvals if found.statement else ())
    ]


# --- comparing ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """How two lists of files differ; `changed` are in both with other bytes."""

    added: tuple[FileEntry, ...]
    removed: tuple[FileEntry, ...]
    changed: tuple[FileEntry, ...]


def model_files(home: Path, reference: str, *, policy: Policy, now: datetime) -> Manifest:
    """The model's files of a bundle, an admitted bundle, or any model directory or snapshot."""
    path = Path(reference)
    if path.is_dir() and not (path / PAYLOAD).is_dir():
        inner = path / MODEL if (path / "snapshot.json").is_file() else path
        return hash_tree(inner)
    found = describe(home, reference, policy=policy, now=now)
    return found.document.vetted()


def difference(before: Manifest, after: Manifest) -> Difference:
    """Compare by name and digest."""
    old = {f.path: f for f in before}
    new = {f.path: f for f in after}
    return Difference(
        added=tuple(f for p, f in new.items() if p not in old),
        removed=tuple(f for p, f in old.items() if p not in new),
        changed=tuple(f for p, f in new.items() if p in old and old[p].sha256 != f.sha256),
    )
