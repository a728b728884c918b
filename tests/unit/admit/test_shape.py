"""What is looked at before anything is believed: names, sizes, shape."""

from pathlib import Path

import pytest

from pratique.admit import shape as shapes
from pratique.admit.shape import look_at
from pratique.errors import UnreadableInput, VerificationRefused


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "x.bundle"
    (root / "payload/model").mkdir(parents=True)
    (root / "signatures").mkdir()
    for name in (
        "payload/SHA256SUMS",
        "payload/bundle.json",
        "payload/model/a",
        "signatures/vetter.sig",
    ):
        (root / name).write_bytes(b"not looked at yet")
    return root


def test_lists_payload_and_reads_signatures(bundle: Path) -> None:
    found = look_at(bundle)
    assert found.files == ("SHA256SUMS", "bundle.json", "model/a")
    assert found.signatures == {"vetter.sig": b"not looked at yet"}


@pytest.mark.parametrize("what", ["absent", "file", "empty"])
def test_not_a_bundle_is_unreadable_input(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.bundle"
    if what == "file":
        path.touch()
    if what == "empty":
        path.mkdir()
    with pytest.raises(UnreadableInput) as caught:
        look_at(path)
    assert caught.value.exit_code == 5
    assert caught.value.hint


def test_too_many_signatures(bundle: Path) -> None:
    for number in range(40):
        (bundle / f"signatures/approver-{number}.sig").touch()
    with pytest.raises(VerificationRefused, match="more than 32"):
        look_at(bundle)


def test_oversized_signature_is_not_read_whole(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "MAX_SIGNATURE_BYTES", 10)
    with pytest.raises(VerificationRefused, match="larger than 10"):
        look_at(bundle)
    (bundle / "signatures/vetter.sig").write_bytes(b"0123456789")
    assert look_at(bundle).signatures["vetter.sig"] == b"0123456789"


def test_empty_signatures_folder_is_for_the_signatures_to_judge(bundle: Path) -> None:
    (bundle / "signatures/vetter.sig").unlink()
    assert look_at(bundle).signatures == {}


def test_link_to_a_bundle_is_followed_once(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(bundle)
    assert look_at(tmp_path / "latest").payload == bundle / "payload"
