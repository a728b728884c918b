"""The commit proof notices every single change, and knows whose signature counts."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pratique.attest.commit_proof import (
    ProofObjects,
    ProvedFile,
    load_proof,
    small_files,
    verify_commit_proof,
)
from pratique.attest.commit_signature import SignatureState, check_commit_signature
from pratique.core.ids import CommitSha, Digest, RelPath
from pratique.core.manifest import Manifest
from pratique.errors import FormatError, PolicyError, VerificationRefused
from pratique.flows.loopback_hub import LoopbackHub
from pratique.formats.git import GitObjects, LfsPointer, object_id
from pratique.store.quarantine import hash_tree
from tests.support.hub.world import MODEL, REPO, write_tree

Files = dict[RelPath, ProvedFile]


class Case:
    def __init__(self, base: Path, **options) -> None:
        self.root = write_tree(base / "model", MODEL)
        hub = LoopbackHub()
        self.commit = hub.add(REPO, self.root, **options)
        objects = hub.repos[REPO].objects
        kept = {k: v for k, v in objects.items() if v[0] != "blob"}
        self.proof = ProofObjects.of(GitObjects(kept), self.commit)
        self.files = proved(hash_tree(self.root), self.root)

    def verify(self, files: Files | None = None, **options):
        return verify_commit_proof(self.proof, files or self.files, **options)


def proved(manifest: Manifest, root: Path) -> Files:
    return {
        f.path: ProvedFile(f.size, f.sha256, object_id("blob", (root / f.path).read_bytes()))
        for f in manifest
    }


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path, message="Release\n\nIt works.", author="Ann <ann@example.org>")


def test_it_proves_and_says_who_and_when(case: Case) -> None:
    proof = case.verify(commit=case.commit)
    assert (proof.commit, proof.files) == (case.commit, len(MODEL))
    assert (proof.author.name, proof.author.when) == ("Ann", 1_700_000_000)
    assert proof.message.startswith("Release")
    assert [path for path, _ in proof.left_out] == [".gitattributes"]
    assert proof.signature.state is SignatureState.UNSIGNED


def test_large_files_need_no_git_id(case: Case) -> None:
    """Look-alike: their LFS pointer accounts for them."""
    weights = RelPath("model.safetensors")
    files = {**case.files, weights: replace(case.files[weights], git_id=None)}
    assert case.verify(files).files == len(MODEL)
    assert small_files(case.proof, case.files) == frozenset(case.files) - {weights}


@pytest.mark.parametrize("name", sorted(MODEL))
def test_a_bit_in_any_file_is_noticed(case: Case, name: str) -> None:
    path = case.root / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationRefused, match="differs"):
        case.verify(proved(hash_tree(case.root), case.root))


def test_a_space_in_config_is_noticed(case: Case) -> None:
    (case.root / "config.json").write_bytes(MODEL["config.json"] + b" ")
    with pytest.raises(VerificationRefused, match=r"config\.json"):
        case.verify(proved(hash_tree(case.root), case.root))


@pytest.mark.parametrize("name", sorted(MODEL))
def test_a_missing_file_is_noticed_unless_it_is_listed(case: Case, name: str) -> None:
    files = {p: f for p, f in case.files.items() if p != name}
    with pytest.raises(VerificationRefused, match="not here"):
        case.verify(files)
    assert name in dict(case.verify(files, left_out=[name]).left_out)


def test_an_extra_file_is_noticed(case: Case) -> None:
    extra = {RelPath("extra.py"): case.files[RelPath("config.json")]}
    with pytest.raises(VerificationRefused, match=r"extra\.py"):
        case.verify(case.files | extra)


def test_a_file_under_another_name_is_noticed(case: Case) -> None:
    files = dict(case.files)
    files[RelPath("Config.json")] = files.pop(RelPath("config.json"))
    with pytest.raises(VerificationRefused):
        case.verify(files)


def test_two_files_that_change_places_are_noticed(case: Case) -> None:
    a, b = RelPath("config.json"), RelPath("tokenizer.json")
    files = {**case.files, a: case.files[b], b: case.files[a]}
    with pytest.raises(VerificationRefused):
        case.verify(files)


def test_another_commit_is_noticed(case: Case) -> None:
    with pytest.raises(VerificationRefused, match="commit"):
        case.verify(commit=CommitSha("0" * 40))


# --- at rest -------------------------------------------------------------------------------------


def stored(case: Case) -> dict[str, bytes]:
    return dict(case.proof.files())


def test_what_is_stored_proves_again(case: Case, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "provenance", stored(case))
    for source in (stored(case), root):
        proof = verify_commit_proof(source, case.files, commit=case.commit)
        assert proof.commit == case.commit


def test_every_altered_object_is_noticed(case: Case) -> None:
    for path, body in stored(case).items():
        altered = {**stored(case), path: body[:-1] + bytes([body[-1] ^ 1])}
        with pytest.raises((FormatError, VerificationRefused)):
            verify_commit_proof(altered, case.files, commit=case.commit)


def test_a_missing_tree_is_noticed(case: Case) -> None:
    for path in stored(case):
        rest = {p: b for p, b in stored(case).items() if p != path}
        with pytest.raises(FormatError):
            verify_commit_proof(rest, case.files, commit=case.commit)


@pytest.mark.parametrize("name", ["../../evil", "x", "A" * 40, "1" * 41])
def test_object_names_that_are_no_ids(case: Case, name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        load_proof({**stored(case), f"git/trees/{name}": b""})


def test_objects_on_disk_are_not_followed_through_links(case: Case, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "provenance", stored(case))
    (root / "git/commit").rename(root / "elsewhere")
    (root / "git/commit").symlink_to(root / "elsewhere")
    with pytest.raises(FormatError, match="cannot be read"):
        load_proof(root)


def test_a_carried_pointer_of_odd_spelling_counts(tmp_path: Path) -> None:
    """Hand-pushed pointers exist: the raw one is carried and parsed."""
    weights = b"w" * 5000
    root = write_tree(tmp_path / "m", {"a.bin": weights})
    digest = hash_tree(root).files[0].sha256
    odd = LfsPointer(digest, len(weights)).canonical[:-1]
    tree = b"100644 a.bin\0" + bytes.fromhex(object_id("blob", odd))
    commit = f"tree {object_id('tree', tree)}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nm"
    objects = GitObjects.of([("blob", odd), ("tree", tree), ("commit", commit.encode())])
    proof = ProofObjects.of(objects, CommitSha(object_id("commit", commit.encode())))
    file = {RelPath("a.bin"): ProvedFile(len(weights), digest)}
    assert verify_commit_proof(dict(proof.files()), file).files == 1
    other = {RelPath("a.bin"): ProvedFile(len(weights), Digest("0" * 64))}
    with pytest.raises(VerificationRefused):
        verify_commit_proof(proof, other)


# --- signatures ----------------------------------------------------------------------------------

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
KEYS = {
    "ed25519": ["-t", "ed25519"],
    "rsa": ["-t", "rsa", "-b", "2048"],
    "ecdsa": ["-t", "ecdsa", "-b", "256"],
    "ecdsa384": ["-t", "ecdsa", "-b", "384"],
    "ecdsa521": ["-t", "ecdsa", "-b", "521"],
}


@pytest.fixture(scope="module")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("keys")
    for name, options in KEYS.items():
        argv = ["ssh-keygen", "-q", "-N", "", "-C", name, *options, "-f", str(root / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return {name: root / name for name in KEYS}


def signer(key: Path, namespace: str = "git"):
    def sign(body: bytes) -> bytes:
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
        return subprocess.run(argv, check=True, input=body, capture_output=True).stdout

    return sign


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


@needs_ssh
@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_signature_by_a_listed_key(tmp_path: Path, ssh_keys, name: str) -> None:
    case = Case(tmp_path, sign=signer(ssh_keys[name]))
    proof = case.verify(signing_keys=[public(ssh_keys[name])])
    assert proof.signature.state is SignatureState.VERIFIED
    argv = ["ssh-keygen", "-lf", str(ssh_keys[name].with_suffix(".pub"))]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert proof.signature.key == listed.split()[1]


@needs_ssh
def test_a_signature_by_another_key(tmp_path: Path, ssh_keys) -> None:
    case = Case(tmp_path, sign=signer(ssh_keys["ed25519"]))
    for listed in ([], [public(ssh_keys["rsa"])]):
        assert case.verify(signing_keys=listed).signature.state is SignatureState.OTHER_KEY


@needs_ssh
@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_signature_over_another_commit(tmp_path: Path, ssh_keys, name: str) -> None:
    case = Case(tmp_path, sign=lambda body: signer(ssh_keys[name])(body + b"x"))
    state = case.verify(signing_keys=[public(ssh_keys[name])]).signature.state
    assert state is SignatureState.INVALID


@needs_ssh
def test_a_signature_made_for_something_else(tmp_path: Path, ssh_keys) -> None:
    """A file signature (`-n file`) is none of a commit."""
    key = ssh_keys["ed25519"]
    case = Case(tmp_path, sign=signer(key, "file"))
    state = case.verify(signing_keys=[public(key)]).signature.state
    assert state is SignatureState.INVALID


def test_other_forms_are_said_to_be_unchecked(tmp_path: Path) -> None:
    armour = b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
    case = Case(tmp_path, sign=lambda _: armour)
    assert case.verify().signature.state is SignatureState.UNCHECKED


def test_a_malformed_ssh_signature_is_invalid(tmp_path: Path) -> None:
    armour = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    case = Case(tmp_path, sign=lambda _: armour)
    assert case.verify().signature.state is SignatureState.INVALID


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa AAAAC3NzaC1lZDI1"])
def test_a_policy_line_that_is_no_key(case: Case, line: str) -> None:
    signed = replace(case.proof.commit, signature=b"-----BEGIN SSH SIGNATURE-----")
    with pytest.raises(PolicyError):
        check_commit_signature(signed, [line])
