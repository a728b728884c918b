"""No single byte of a bundle can change, wherever it is, without the bundle being refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pratique.errors import VerificationRefused
from pratique.formats.bundle import encode_bundle_document, parse_bundle_document
from tests.support.bundles import World, make_world

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


@_RELAXED
@given(one=st.integers(0, 10**6), two=st.integers(0, 10**6))
def test_swapped_names_are_refused(
    world: World, bundle: Path, files: list[Path], *, one: int, two: int
) -> None:
    first, second = files[one % len(files)], files[two % len(files)]
    before = first.read_bytes(), second.read_bytes()
    if before[0] == before[1]:
        return
    first.write_bytes(before[1])
    second.write_bytes(before[0])
    try:
        with pytest.raises(VerificationRefused):
            world.verify(bundle)
    finally:
        first.write_bytes(before[0])
        second.write_bytes(before[1])


@_RELAXED
@given(
    which=st.integers(0, 10**6),
    name=st.text("abcAB01._-/", min_size=1, max_size=12).filter(lambda n: "//" not in n),
)
def test_renamed_file_is_refused(
    world: World, bundle: Path, files: list[Path], *, which: int, name: str
) -> None:
    path = files[which % len(files)]
    target = bundle / "payload" / name.strip("/")
    if ".." in target.parts or target.exists() or any(p.is_file() for p in target.parents):
        return
    made = [p for p in target.parents if not p.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    try:
        with pytest.raises(VerificationRefused):
            world.verify(bundle)
    finally:
        target.rename(path)
        for folder in made:
            folder.rmdir()
