"""No single byte of a bundle can change, wherever it is, without the bundle being refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.bundles import World, make_world

from pratique.errors import VerificationRefused
from pratique.formats.bundle import encode_bundle_document, parse_bundle_document

_RELAXED = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("bytes"))


@pytest.fixture(scope="module")
def bundle(world: World) -> Path:
    return world.bundle(files={"config.json": b"{}\n", "model.safetensors": b"weights"})


@pytest.fixture(scope="module")
def files(bundle: Path) -> list[Path]:
    return sorted(p for p in bundle.rglob("*") if p.is_file())


def refused(world: World, bundle: Path, path: Path, changed: bytes) -> None:
    """The bundle holds as it is, and is refused with `changed` at `path`."""
    original = path.read_bytes()
    assert changed != original
    path.write_bytes(changed)
    try:
        with pytest.raises(VerificationRefused):
            world.verify(bundle)
    finally:
        path.write_bytes(original)


def test_bundle_holds_as_sealed(world: World, bundle: Path) -> None:
    world.verify(bundle)


@_RELAXED
@given(which=st.integers(0, 10**6), place=st.integers(0, 10**9), other=st.integers(1, 255))
def test_flipped_byte_is_refused(
    world: World, bundle: Path, files: list[Path], *, which: int, place: int, other: int
) -> None:
    path = files[which % len(files)]
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= other
    refused(world, bundle, path, bytes(data))


@_RELAXED
@given(
    which=st.integers(0, 10**6), place=st.integers(0, 10**9), new=st.sampled_from(b" \n\t0a=\x00")
)
def test_inserted_byte_is_refused(
    world: World, bundle: Path, files: list[Path], *, which: int, place: int, new: int
) -> None:
    path = files[which % len(files)]
    data = path.read_bytes()
    at = place % (len(data) + 1)
    refused(world, bundle, path, data[:at] + bytes([new]) + data[at:])


@_RELAXED
@given(which=st.integers(0, 10**6), place=st.integers(0, 10**9))
@example(which=0, place=10**9 - 1)
def test_removed_byte_is_refused(
    world: World, bundle: Path, files: list[Path], *, which: int, place: int
) -> None:
    path = files[which % len(files)]
    data = path.read_bytes()
    at = place % len(data)
    refused(world, bundle, path, data[:at] + data[at + 1 :])


@pytest.mark.slow
def test_every_byte_of_every_file_is_covered(world: World, bundle: Path, files: list[Path]) -> None:
    for path in files:
        data = path.read_bytes()
        for at in range(len(data)):
            refused(world, bundle, path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_document_is_one_spelling(bundle: Path) -> None:
    data = (bundle / "payload" / "bundle.json").read_bytes()
    assert encode_bundle_document(parse_bundle_document(data)) == data
