"""What can be done to a bundle on its way without touching a signed byte, and to signed lists.

Each variant is refused by `verify` and by `admit`, names what is wrong, and leaves nothing admitted.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pratique.attest.sign import sign_approval, sign_payload
from pratique.attest.values import Approval
from pratique.core.bundle import bundle_id_of
from pratique.core.findings import PolicyRef
from pratique.core.ids import Digest, RelPath
from pratique.core.manifest import parse_sha256sums
from pratique.errors import PratiqueError, UnreadableInput, VerificationRefused
from pratique.store.cas import open_store
from pratique.store.records import admissions
from tests.support.bundles import NOW, POLICY, World, make_world

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("tampering"))


@pytest.fixture(scope="module")
def original(world: World) -> Path:
    return world.bundle()


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny.bundle"))


def extra_file(bundle: Path) -> None:
    (bundle / "payload/model/added.json").write_bytes(b"{}")


def extra_empty_file(bundle: Path) -> None:
    (bundle / "payload/model/__init__.py").touch()


def extra_in_evidence(bundle: Path) -> None:
    (bundle / "payload/evidence/other.json").write_bytes(b"{}")


def extra_empty_folder(bundle: Path) -> None:
    (bundle / "payload/model/sub").mkdir()


def extra_beside_payload(bundle: Path) -> None:
    (bundle / "README").write_bytes(b"read me")


def extra_folder_beside_payload(bundle: Path) -> None:
    (bundle / "tools").mkdir()
    (bundle / "tools/run.sh").write_bytes(b"#!/bin/sh\n")


def extra_signature_name(bundle: Path) -> None:
    (bundle / "signatures/notes.txt").write_bytes(b"signed, honestly")


def git_file_that_peers_ignore(bundle: Path) -> None:
    # Model Signing leaves .git* out by default: a verifier that honours that would not see it.
    (bundle / "payload/.gitattributes").write_bytes(b"* filter=evil\n")


def missing_file(bundle: Path) -> None:
    (bundle / "payload/model/config.json").unlink()


def missing_empty_file(bundle: Path) -> None:
    (bundle / "payload/model/empty.txt").unlink()


def missing_sums(bundle: Path) -> None:
    (bundle / "payload/SHA256SUMS").unlink()


def missing_document(bundle: Path) -> None:
    (bundle / "payload/bundle.json").unlink()


def renamed(bundle: Path) -> None:
    (bundle / "payload/model/config.json").rename(bundle / "payload/model/config2.json")


def renamed_keeping_the_order(bundle: Path) -> None:
    # The OMS root digest would not change: it covers digests in name order, not names.
    (bundle / "payload/model/README.md").rename(bundle / "payload/model/README.mf")


def moved_to_another_folder(bundle: Path) -> None:
    (bundle / "payload/model/empty.txt").rename(bundle / "payload/evidence/empty.txt")


def swapped(bundle: Path) -> None:
    one, two = bundle / "payload/model/config.json", bundle / "payload/model/README.md"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def linked(bundle: Path) -> None:
    path = bundle / "payload/model/config.json"
    data = path.read_bytes()
    outside = bundle.parent / "outside.json"
    outside.write_bytes(data)
    path.unlink()
    path.symlink_to(outside)


def linked_to_a_sibling(bundle: Path) -> None:
    copy = bundle / "payload/model/empty.txt"
    copy.unlink()
    copy.symlink_to("README.md")


def folder_linked(bundle: Path) -> None:
    folder = bundle / "payload/model/1_Pooling"
    moved = bundle.parent / "elsewhere"
    folder.rename(moved)
    folder.symlink_to(moved)


def payload_linked(bundle: Path) -> None:
    moved = bundle.parent / "payload-elsewhere"
    (bundle / "payload").rename(moved)
    (bundle / "payload").symlink_to(moved)


def dangling_link(bundle: Path) -> None:
    (bundle / "payload/model/later.json").symlink_to("/nonexistent")


def fifo(bundle: Path) -> None:
    os.mkfifo(bundle / "payload/model/pipe")


def fifo_in_place_of_a_file(bundle: Path) -> None:
    path = bundle / "payload/model/config.json"
    path.unlink()
    os.mkfifo(path)


def case_collision(bundle: Path) -> None:
    (bundle / "payload/model/CONFIG.json").write_bytes(b"{}")


def unicode_collision(bundle: Path) -> None:
    (bundle / "payload/model/ﬁle.json").write_bytes(b"{}")
    (bundle / "payload/model/file.json").write_bytes(b"{}")


def name_with_bidi_override(bundle: Path) -> None:
    (bundle / "payload/model/nosj.\u202eexe").write_bytes(b"MZ")


def name_that_is_not_utf8(bundle: Path) -> None:
    with open(os.fsencode(str(bundle / "payload/model")) + b"/\xff.json", "wb"):  # noqa: PTH123 - bytes
        pass


def grown(bundle: Path) -> None:
    with (bundle / "payload/model/model.safetensors").open("ab") as file:
        file.write(b"\0")


def truncated(bundle: Path) -> None:
    os.truncate(bundle / "payload/model/model.safetensors", 100)


def unsigned(bundle: Path) -> None:
    (bundle / "signatures/vetter.sig").unlink()


def no_signatures_folder(bundle: Path) -> None:
    shutil.rmtree(bundle / "signatures")


def unapproved(bundle: Path) -> None:
    (bundle / "signatures/approver.sig").unlink()


def vetter_approves(bundle: Path) -> None:
    shutil.copy(bundle / "signatures/vetter.sig", bundle / "signatures/approver.sig")


def approver_vets(bundle: Path) -> None:
    shutil.copy(bundle / "signatures/approver.sig", bundle / "signatures/vetter.sig")


def approval_renumbered(bundle: Path) -> None:
    # Under another number, as if the first two had been taken away.
    (bundle / "signatures/approver.sig").rename(bundle / "signatures/approver-3.sig")


def empty_signature(bundle: Path) -> None:
    (bundle / "signatures/vetter.sig").write_bytes(b"")


def two_envelopes(bundle: Path) -> None:
    path = bundle / "signatures/vetter.sig"
    path.write_bytes(path.read_bytes() * 2)


def signature_with_white_space(bundle: Path) -> None:
    path = bundle / "signatures/vetter.sig"
    path.write_bytes(path.read_bytes() + b"\n\n")


def signature_is_a_link(bundle: Path) -> None:
    path = bundle / "signatures/approver.sig"
    outside = bundle.parent / "approver.sig"
    path.rename(outside)
    path.symlink_to(outside)


CHANGES: list[tuple[Change, str]] = [
    (extra_file, "added.json"),
    (extra_empty_file, "__init__.py"),
    (extra_in_evidence, "other.json"),
    (extra_empty_folder, "sub"),
    (extra_beside_payload, "README"),
    (extra_folder_beside_payload, "tools"),
    (extra_signature_name, "notes.txt"),
    (git_file_that_peers_ignore, ".gitattributes"),
    (missing_file, "config.json"),
    (missing_empty_file, "empty.txt"),
    (missing_sums, "SHA256SUMS"),
    (missing_document, "bundle.json"),
    (renamed, "config"),
    (renamed_keeping_the_order, "README"),
    (moved_to_another_folder, "empty.txt"),
    (swapped, "is not the file that was signed"),
    (linked, "config.json"),
    (linked_to_a_sibling, "empty.txt"),
    (folder_linked, "1_Pooling"),
    (payload_linked, "payload"),
    (dangling_link, "later.json"),
    (fifo, "pipe"),
    (fifo_in_place_of_a_file, "config.json"),
    (case_collision, "differ only by case"),
    (unicode_collision, "differ only by case or Unicode form"),
    (name_with_bidi_override, "U+202E"),
    (name_that_is_not_utf8, "Unicode"),
    (grown, "model.safetensors"),
    (truncated, "model.safetensors"),
    (unsigned, "vetter.sig"),
    (no_signatures_folder, "not signed"),
    (unapproved, "0 of 1"),
    (vetter_approves, "predicate"),
    (approver_vets, "vetter.sig"),
    (approval_renumbered, "renamed"),
    (empty_signature, "vetter.sig"),
    (two_envelopes, "vetter.sig"),
    (signature_with_white_space, "vetter.sig"),
    (signature_is_a_link, "approver.sig"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_tampered_bundle_is_refused(world: World, bundle: Path, change: Change, named: str) -> None:
    change(bundle)
    for check in (world.verify, world.admit):
        with pytest.raises(PratiqueError) as caught:
            check(bundle)
        assert isinstance(caught.value, (VerificationRefused, UnreadableInput)), caught.value
        assert named in caught.value.message
        assert caught.value.hint
    assert not _admitted(world)


def test_untouched_bundle_holds(world: World, bundle: Path, tmp_path: Path) -> None:
    world.verify(bundle)


def test_hard_links_are_fine(world: World, original: Path, tmp_path: Path) -> None:
    """Backups link equal files together; the bytes are what counts, and admission copies them."""
    linked_copy = tmp_path / "tiny.bundle"
    shutil.copytree(original, linked_copy, copy_function=os.link)
    world.verify(linked_copy)


# --- a vetter's key signs something inconsistent ------------------------------------------------------


def resign(world: World, bundle: Path, *, sums: bytes | None = None) -> None:
    """Sign the payload as it is now, as a careless or dishonest tool with the key would."""
    payload = bundle / "payload"
    if sums is None:
        listed = parse_sha256sums((payload / "SHA256SUMS").read_bytes())
        lines = [f"{_sha256(payload / path)}  {path}\n" for path in listed]
        sums = "".join(lines).encode()
    (payload / "SHA256SUMS").write_bytes(sums)
    files = [
        (RelPath(str(p.relative_to(payload))), _sha256(p))
        for p in sorted(payload.rglob("*"))
        if p.is_file()
    ]
    (bundle / "signatures/vetter.sig").write_bytes(sign_payload(files, world.vetter))
    (bundle / "signatures/approver.sig").unlink()


def approve_blindly(world: World, bundle: Path) -> None:
    bundle_id = bundle_id_of((bundle / "payload/SHA256SUMS").read_bytes())
    approval = Approval(
        bundle_id=bundle_id,
        name="tiny",
        policy=PolicyRef(POLICY.name, POLICY.digest),
        issued=NOW,
        expires=NOW + timedelta(days=1),
        reason="did not look",
    )
    (bundle / "signatures/approver.sig").write_bytes(sign_approval(approval, world.approver))


def _sha256(path: Path) -> Digest:
    return Digest(hashlib.sha256(path.read_bytes()).hexdigest())


def _edit(bundle: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = bundle / "payload/bundle.json"
    value = json.loads(path.read_bytes())
    change(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(text.encode() + b"\n")


def _weights(value: dict[str, object]) -> dict[str, object]:
    files = value["files"]
    assert isinstance(files, list)
    return next(f for f in files if f["path"].endswith("model.safetensors"))


def fast_digest_disagrees(value: dict[str, object]) -> None:
    _weights(value)["chunks"] = ["00" * 32]


def sha256_disagrees(value: dict[str, object]) -> None:
    _weights(value)["sha256"] = "00" * 32


def size_disagrees(value: dict[str, object]) -> None:
    _weights(value)["size"] = 1


def too_few_chunks(value: dict[str, object]) -> None:
    _weights(value)["chunks"] = []


def file_left_out(value: dict[str, object]) -> None:
    files = value["files"]
    assert isinstance(files, list)
    files.remove(_weights(value))


def other_subject(value: dict[str, object]) -> None:
    value["subject"] = "00" * 32


def other_verdict(value: dict[str, object]) -> None:
    value["verdict"] = "FAILED"


def unknown_field(value: dict[str, object]) -> None:
    value["verified"] = True


def proof_that_is_not_there(value: dict[str, object]) -> None:
    value["commit_proof"] = "verified"
    source = value["source"]
    assert isinstance(source, dict)
    source.update(kind="hub", repo="org/tiny", commit="ab" * 20)


def local_that_names_a_commit(value: dict[str, object]) -> None:
    source = value["source"]
    assert isinstance(source, dict)
    source.update(repo="org/tiny", commit="ab" * 20)


def hub_without_need_of_a_proof(value: dict[str, object]) -> None:
    source = value["source"]
    assert isinstance(source, dict)
    source.update(kind="hub", repo="org/tiny", commit="ab" * 20)


def unproven_hub_commit(value: dict[str, object]) -> None:
    value["commit_proof"] = "none"
    value["source"] = {
        "kind": "hub",
        "repo": "org/tiny",
        "commit": "ab" * 20,
        "requested": "main",
        "endpoint": "https://example.org",
    }


INCONSISTENT = [
    (fast_digest_disagrees, "chunk digests of 'model/model.safetensors'"),
    (sha256_disagrees, "bundle.json"),
    (size_disagrees, "bundle.json"),
    (too_few_chunks, "chunk digests"),
    (file_left_out, "bundle.json"),
    (other_subject, "other files than the gate vetted"),
    (other_verdict, "verdict"),
    (unknown_field, "verified"),
    (proof_that_is_not_there, "no commit under provenance"),
    (local_that_names_a_commit, "as no local source does"),
    (hub_without_need_of_a_proof, "which no hub source does"),
    (unproven_hub_commit, "no commit proof"),
]


@pytest.mark.parametrize(
    ("change", "named"), INCONSISTENT, ids=[c.__name__ for c, _ in INCONSISTENT]
)
def test_signed_but_inconsistent_is_refused(
    world: World, bundle: Path, change: Callable[[dict[str, object]], None], named: str
) -> None:
    _edit(bundle, change)
    resign(world, bundle)
    approve_blindly(world, bundle)
    for check in (world.verify, world.admit):
        with pytest.raises(VerificationRefused) as caught:
            check(bundle)
        assert named in caught.value.message
    assert not _admitted(world)


def test_another_spelling_of_the_document_is_refused(world: World, bundle: Path) -> None:
    path = bundle / "payload/bundle.json"
    path.write_bytes(json.dumps(json.loads(path.read_bytes()), indent=1).encode())
    resign(world, bundle)
    approve_blindly(world, bundle)
    with pytest.raises(VerificationRefused, match="canonical"):
        world.verify(bundle)


def test_sums_that_say_something_else_are_refused(world: World, bundle: Path) -> None:
    path = bundle / "payload/SHA256SUMS"
    lines = path.read_bytes().splitlines(keepends=True)
    resign(world, bundle, sums=b"".join(lines[1:]))
    approve_blindly(world, bundle)
    with pytest.raises(VerificationRefused, match="SHA256SUMS"):
        world.verify(bundle)


def test_newer_format_says_so(world: World, bundle: Path) -> None:
    _edit(bundle, lambda value: value.update(schema="pratique.bundle/v2"))
    resign(world, bundle)
    approve_blindly(world, bundle)
    with pytest.raises(VerificationRefused, match="newer pratique") as caught:
        world.admit(bundle)
    assert "update" in caught.value.hint


def test_signed_again_and_consistent_is_accepted(world: World, bundle: Path) -> None:
    """The look-alike: the same helpers, nothing wrong."""
    resign(world, bundle)
    approve_blindly(world, bundle)
    world.verify(bundle)


def _admitted(world: World) -> list[object]:
    try:
        return list(admissions(open_store(world.home)))
    except UnreadableInput:
        return []
