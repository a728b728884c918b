"""A small world to seal and admit in: two people's keys, an enclave with its trust, a tiny bundle.

The gate here passes everything: these helpers serve tests of sealing, storing and admitting, which
have to hold whatever the gate says. Tests of the gate itself use the real one.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pratique.admit.admit import Naming, Terms, admit
from pratique.admit.admitted import AdmittedBundle, VerifiedBundle
from pratique.admit.record import Decision
from pratique.admit.verify import verify_bundle
from pratique.attest.install import install, installed_trust
from pratique.attest.keys import KeySigner, generate_key, load_signer
from pratique.attest.repository import Admins, Repository
from pratique.attest.trustfile import Person, RoleRule, TrustFile
from pratique.attest.values import Approval, Role
from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, PolicyRef, Severity, Subject, Verdict
from pratique.core.policy import Policy
from pratique.core.recorded import Around, unrecorded
from pratique.core.snapshot import Snapshot, VettedSnapshot
from pratique.core.stages import Stage
from pratique.flows.approve import Attaching, sign_and_attach, vet_for_approval
from pratique.flows.approve import Terms as ApprovalTerms
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.seal.seal import SealedBundle, Sealing
from pratique.store.quarantine import hash_tree, open_snapshot

NOW = datetime.now(UTC).replace(microsecond=0)  # TUF judges expiry by the real clock
POLICY = Policy(schema="pratique.policy/v1", name="test")
FIPS = Policy(schema="pratique.policy/v1", name="fips", crypto="fips")

FILES = {
    "config.json": b'{"model_type": "tiny"}\n',
    "model.safetensors": bytes(range(256)) * 40,
    "empty.txt": b"",
    "1_Pooling/config.json": b'{"pooling": true}\n',
    "README.md": "---\nlicense: apache-2.0\n---\nA tiny model: größe.\n".encode(),
}


def subject_of(name: str, directory: Path) -> Subject:
    """What a verdict about a directory speaks of."""
    manifest = hash_tree(directory)
    return Subject(name, manifest.digest, files=len(manifest), size=manifest.total_size)


@dataclass(frozen=True)
class OpenGate:
    """Passes everything, and says so about the very files it was shown."""

    policy: Policy = POLICY
    findings: tuple[Finding, ...] = ()

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        assert stage is Stage.CONTENT
        reference = PolicyRef(self.policy.name, self.policy.digest)
        foreign = tuple((r.pin.text, hash_tree(r.root).digest) for r in candidate.foreign)
        subject = replace(subject_of(candidate.name, candidate.root), foreign=foreign)
        return Verdict(subject, reference, self.findings)


def refusing_gate(disposition: Disposition = Disposition.REFUSE) -> OpenGate:
    """A gate that finds the same thing wrong with everything."""
    finding = Finding("test-check", Severity.HIGH, disposition, "config.json", "is wrong", "fix it")
    return OpenGate(findings=(finding,))


def write_tiny(directory: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write a few files that nobody will load."""
    for name, data in (files or FILES).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def sealing_of(directory: Path, policy: Policy = POLICY, **changes: object) -> Sealing:
    """What `seal` takes, for a directory that the gate passed."""
    snapshot: Snapshot = open_snapshot(directory, now=NOW)
    reference = PolicyRef(policy.name, policy.digest)
    verdict = Verdict(subject_of(snapshot.name, directory), reference, ())
    values: dict[str, object] = {
        "vetted": VettedSnapshot(snapshot, verdict),
        "policy": policy,
        "clock": NOW,
        "evidence": {"verdict.json": b"{}\n"},
        "left_behind": {},
    }
    return Sealing(**(values | changes))  # type: ignore[arg-type]  # the tests vary one at a time


@dataclass(frozen=True)
class World:
    """Keys of `vera` (vetter), `anton` (approver) and an administrator; an enclave that knows them."""

    root: Path
    vetter: KeySigner
    approver: KeySigner

    @property
    def home(self) -> Path:
        """The enclave's home, with trust installed."""
        return self.root / "home"

    @property
    def trust_set(self) -> Path:
        """The trust set as it travels."""
        return self.root / "trust-set"

    def bundle(self, name: str = "tiny", files: dict[str, bytes] | None = None) -> Path:
        """Seal and approve a tiny bundle; the gate is open."""
        sealed = self.sealed(name, files)
        self.approve(sealed)
        return sealed

    def sealed(
        self,
        name: str = "tiny",
        files: dict[str, bytes] | None = None,
        policy: Policy = POLICY,
        around: Around[SealedBundle] = unrecorded,
    ) -> Path:
        """Seal a tiny bundle that nobody has approved."""
        model = write_tiny(self.root / "models" / name, files)
        output = self.root / "bundles"
        output.mkdir(exist_ok=True)
        target = output / f"{name}.bundle"
        shutil.rmtree(target, ignore_errors=True)
        request = SealRequest(model, policy, target)
        return vet_and_seal(
            request,
            OpenGate(policy),
            lambda: self.vetter,
            on_verdict=lambda _: None,
            around=around,
        ).path

    def approve(
        self,
        bundle: Path,
        around: Callable[[Approval], Around[Attaching]] = lambda _: unrecorded,
        **changes: object,
    ) -> Path:
        """Have anton approve."""
        values: dict[str, object] = {"policy": POLICY, "reason": "looked at it", "now": NOW}
        terms = ApprovalTerms(**(values | changes))  # type: ignore[arg-type]
        approval = vet_for_approval(
            bundle, terms, OpenGate(terms.policy), on_verdict=lambda _: None
        )
        return sign_and_attach(bundle, approval, self.approver, self.home, around=around(approval))

    def verify(self, bundle: Path, policy: Policy = POLICY, now: datetime = NOW) -> VerifiedBundle:
        """Verify against the installed trust."""
        return verify_bundle(bundle, trust=installed_trust(self.home), policy=policy, now=now)

    def admit(
        self,
        bundle: Path,
        naming: Naming | None = None,
        around: Around[Decision] = unrecorded,
        **changes: object,
    ) -> AdmittedBundle:
        """Admit into the enclave; the gate is open unless `gate` says otherwise."""
        values: dict[str, object] = {
            "home": self.home,
            "trust": installed_trust(self.home),
            "policy": POLICY,
            "gate": OpenGate(),
            "now": NOW,
        }
        terms = Terms(**(values | changes))  # type: ignore[arg-type]
        return admit(bundle, terms, naming or Naming(), around=around)


def make_world(root: Path) -> World:
    """Make keys and trust, and install the trust in an enclave's home."""
    root.mkdir(parents=True, exist_ok=True)
    signers = {name: _signer(root / name) for name in ("vera", "anton", "admin")}
    people = tuple(
        Person(name=name, keys=(signers[name].public_pem.decode(),)) for name in ("vera", "anton")
    )
    trust = TrustFile(
        schema="pratique.trust/v1",
        enclave="lab",
        issued=NOW - timedelta(days=1),
        people=people,
        roles={
            Role.VETTER: RoleRule(holders=("vera",), threshold=1),
            Role.APPROVER: RoleRule(holders=("anton",), threshold=1),
        },
    )
    admin = signers["admin"]
    admins = Admins(keys=(admin.private_key.public_key(),), threshold=1)
    world = World(root, signers["vera"], signers["anton"])
    Repository(world.trust_set).init(trust, admins, [admin], NOW - timedelta(days=1))
    install(world.home, world.trust_set, now=NOW - timedelta(hours=1), confirm=lambda seen: seen)
    return world


def _signer(prefix: Path) -> KeySigner:
    generate_key(prefix)
    return load_signer(prefix.with_name(f"{prefix.name}.key"))
