"""The view that checks have: bounded, cached, steady."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate, EntryKind, Listed
from pratique.core.findings import Disposition
from pratique.core.manifest import Manifest
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError, UnreadableInput
from pratique.store.quarantine import hash_tree
from pratique.vet.examine import STEADY, examine
from pratique.vet.repo import NotHere, Repo
from pratique.vet.roles import Role, role_of

POLICY = Policy(schema="pratique.policy/v1", name="test")


def _repo(root: Path, **more: object) -> Repo:
    return Repo(Candidate("x", root, **more), Stage.CONTENT)  # type: ignore[arg-type]  # test plumbing


def test_reads_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 100)
    repo = _repo(tmp_path)
    assert repo.read("a.txt", 100) == b"x" * 100
    with pytest.raises(FormatError, match="larger"):
        repo.read("a.txt", 99)
    assert repo.head("a.txt", 3) == b"xxx"
    assert repo.tail("a.txt", 3) == b"xxx"
    with pytest.raises(NotHere):
        repo.read("b.txt")


def test_documents_are_parsed_once_and_failures_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "bad.json").write_text("{")
    repo = _repo(tmp_path)
    assert repo.json("config.json") is repo.json("config.json")
    errors = []
    for _ in range(2):
        with pytest.raises(FormatError) as error:
            repo.json("bad.json")
        errors.append(error.value)
    assert errors[0] is errors[1]
    assert repo.object("bad.json") is None
    assert repo.config == {"a": 1}


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    repo = _repo(tmp_path)
    (tmp_path / "b").write_text("two")
    os.replace(tmp_path / "b", tmp_path / "a.txt")  # noqa: PTH105  # the rename itself is the point
    assert list(repo.changed()) == ["a.txt"]
    with pytest.raises(FormatError, match="changed"):
        repo.read("a.txt")


def test_links_and_pipes_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "p")
    repo = _repo(tmp_path)
    kinds = {e.path: e.kind for e in repo.entries}
    assert kinds == {"l": EntryKind.LINK, "p": EntryKind.SPECIAL}
    for path in ("l", "p"):
        assert not repo.here(path)
        assert repo.head(path) == b""


def test_listing_and_heads(tmp_path: Path) -> None:
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "w.safetensors").write_bytes(b"12345678")
    (tmp_path / "here").mkdir()
    repo = _repo(
        tmp_path / "here",
        listing=(Listed("w.safetensors", 1000, sha256="a" * 64),),
        heads=tmp_path / "heads",
    )
    assert repo.has("w.safetensors")
    assert not repo.here("w.safetensors")
    assert repo.size("w.safetensors") == 1000
    assert repo.head("w.safetensors", 4) == b"1234"
    assert repo.digest_for("w.safetensors") == "a" * 64


def test_unreadable_root(tmp_path: Path) -> None:
    with pytest.raises((UnreadableInput, OSError)):
        _repo(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("model.safetensors", Role.WEIGHTS), ("MODEL.SAFETENSORS", Role.WEIGHTS), ("a/config.json", Role.CONFIG),
        ("pytorch_model.bin", Role.TORCH), ("pytorch_model.bin.index.json", Role.INDEX), ("LICENSE", Role.LICENCE),
        ("LICENSE-MIT.txt", Role.LICENCE), ("USE_POLICY.md", Role.LICENCE), ("README.md", Role.CARD),
        ("tokenizer.model.v3", Role.TOKENIZER_MODEL), ("mistral.model.v7m1", Role.TOKENIZER_MODEL),
        ("onnx/model.onnx_data", Role.ONNX_DATA), ("x.tar.gz", Role.ARCHIVE), ("libx.so.1.2", Role.NATIVE),
        ("variables/variables.data-00000-of-00001", Role.SAVED_MODEL), ("blob.xyz", Role.UNKNOWN),
        (".gitattributes", Role.GIT), ("additional_chat_templates/tool.jinja", Role.CHAT_TEMPLATE),
        (".cache/huggingface/download/x.metadata", Role.CACHE), ("openvino/openvino_model.bin", Role.FOREIGN),
    ],
)  # fmt: skip
def test_roles(path: str, role: Role) -> None:
    assert role_of(path) is role


# --- what the caller measured while writing -----------------------------------------------------------


def _measured(root: Path) -> Manifest:
    return hash_tree(root)


def _looked_at(root: Path, measured: Manifest) -> tuple[set[str], str]:
    """The paths that the gate refuses as unsteady, and the digest that it speaks of."""
    found = examine(Candidate("x", root, measured=measured), POLICY, Stage.CONTENT)
    return {f.path for f in found.findings if f.check == STEADY}, found.digest


def test_measured_files_are_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    measured = _measured(tmp_path)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
    unsteady, digest = _looked_at(tmp_path, measured)
    assert unsteady == set()
    assert digest == measured.digest


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("new.txt", lambda root: (root / "new.txt").write_bytes(b"")),
        ("a.txt", lambda root: (root / "a.txt").write_bytes(b"longer than before")),
        ("a.txt", lambda root: (root / "a.txt").unlink()),
    ],
    ids=["more", "longer", "missing"],
)
def test_other_files_than_measured_are_refused(
    tmp_path: Path, path: str, change: Callable[[Path], object]
) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "b.txt").write_bytes(b"b")
    measured = _measured(tmp_path)
    change(tmp_path)
    unsteady, _ = _looked_at(tmp_path, measured)
    assert unsteady == {path}


def test_a_document_is_held_against_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{"a": 1}')
    measured = _measured(tmp_path)
    (tmp_path / "config.json").write_bytes(b'{"a": 2}')
    repo = _repo(tmp_path, measured=measured)
    with pytest.raises(FormatError, match="changed"):
        repo.json("config.json")
    found = examine(Candidate("x", tmp_path, measured=measured), POLICY, Stage.CONTENT)
    assert any(
        f.disposition is Disposition.REFUSE and f.path == "config.json" for f in found.findings
    )
