"""Only the named bytes are loaded, and a later write is noticed."""

import errno
import fcntl
import hashlib
import mmap
import os
from pathlib import Path

import blake3
import pytest

from pratique.core import load as core_load
from pratique.core.load import LoadFault, LoadSpec, NamedCode, WeightFile
from pratique.core.rungs import Rung
from pratique.errors import FormatError
from pratique.jobs import worker_files, worker_sealed
from pratique.jobs.worker_files import copy_code, hold
from pratique.jobs.worker_refusal import LoadRefused
from tests.support.serving import files_of, limits_for


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "1_Pooling").mkdir(parents=True)
    (directory / "config.json").write_bytes(b"{}")
    (directory / "1_Pooling/config.json").write_bytes(b"{ }")
    (directory / "model.safetensors").write_bytes(os.urandom(5000))
    (directory / "empty.txt").write_bytes(b"")
    return directory


def spec(directory: Path, files: tuple[WeightFile, ...] | None = None) -> LoadSpec:
    return LoadSpec(
        model_dir=str(directory),
        files=files or files_of(directory),
        rung=Rung.AUTO,
        limits=limits_for(threads=2),
    )


def fault_of(found: LoadSpec) -> LoadFault:
    with pytest.raises(LoadRefused) as caught:
        hold(found)
    return caught.value.fault


def test_what_is_named_is_held(model):
    with hold(spec(model)) as files:
        assert files.total_bytes == 5005
        assert files.unchanged()


def test_chunk_digests_are_enough(model, monkeypatch):
    monkeypatch.setattr(worker_files, "CHUNK_BYTES", 2000)
    assert core_load.CHUNK_BYTES == 64 * 2**20

    def chunked(file: WeightFile) -> WeightFile:
        data = (model / file.path).read_bytes()
        pieces = [data[at : at + 2000] for at in range(0, len(data), 2000)]
        digests = tuple(blake3.blake3(piece).hexdigest() for piece in pieces)
        return file.model_copy(update={"chunks": digests})

    files = tuple(chunked(file) for file in files_of(model))
    with hold(spec(model, files)) as held:
        assert held.unchanged()
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[4999] ^= 1
    weights.write_bytes(data)
    assert fault_of(spec(model, files)) is LoadFault.FILE_CHANGED
    short = tuple(f.model_copy(update={"chunks": f.chunks[:1]}) for f in files)
    assert fault_of(spec(model, short)) is LoadFault.FILE_CHANGED


@pytest.mark.parametrize("at", [0, 2500, 4999])
def test_one_changed_bit_is_refused(model, at):
    found = spec(model)
    data = bytearray((model / "model.safetensors").read_bytes())
    data[at] ^= 1
    (model / "model.safetensors").write_bytes(data)
    assert fault_of(found) is LoadFault.FILE_CHANGED


def test_a_missing_and_a_further_file_are_refused(model):
    found = spec(model)
    (model / "tokenizer.model").write_bytes(b"sneaked in")
    assert fault_of(found) is LoadFault.FILE_CHANGED
    (model / "tokenizer.model").unlink()
    (model / "empty.txt").unlink()
    assert fault_of(found) is LoadFault.FILE_CHANGED


def test_links_are_refused_even_to_the_right_bytes(model, tmp_path):
    found = spec(model)
    real = tmp_path / "weights"
    (model / "model.safetensors").rename(real)
    (model / "model.safetensors").symlink_to(real)
    assert fault_of(found) is LoadFault.FILE_CHANGED


def test_a_linked_folder_is_refused(model, tmp_path):
    found = spec(model)
    (model / "1_Pooling").rename(tmp_path / "elsewhere")
    (model / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    assert fault_of(found) is LoadFault.FILE_CHANGED


def test_a_write_after_opening_is_noticed(model):
    with hold(spec(model)) as files:
        with (model / "model.safetensors").open("r+b") as out:
            out.seek(100)
            out.write(b"\0\0\0")
        assert not files.unchanged()


def test_whoever_only_reads_changes_nothing(model):
    with hold(spec(model)) as files:
        for path in model.rglob("*"):
            if path.is_file():
                path.read_bytes()
                path.open("ab").close()  # opened for writing, nothing written
        assert files.unchanged()


def test_a_write_with_its_old_times_put_back_is_noticed(model):
    with hold(spec(model)) as files:
        path = model / "model.safetensors"
        before = path.stat()
        with path.open("r+b") as out:
            out.write(b"\0")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert not files.unchanged()


def test_a_file_put_in_its_place_is_noticed(model):
    with hold(spec(model)) as files:
        path = model / "model.safetensors"
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        assert not files.unchanged()


def test_nothing_stays_open_after_a_refusal(model):
    found = spec(model)
    wrong = tuple(
        f.model_copy(update={"sha256": hashlib.sha256(b"other").hexdigest()}) for f in found.files
    )
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert fault_of(spec(model, wrong)) is LoadFault.FILE_CHANGED
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- code that the configuration names by a repository ----------------------------------------------


def named(directory: Path, *paths: str) -> NamedCode:
    files = tuple(f for f in files_of(directory) if f.path in paths)
    return NamedCode(repo="other/repo", directory=str(directory), files=files)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "code"
    (directory / "deep").mkdir(parents=True)
    (directory / "modeling.py").write_bytes(b"from .deep.er import x\n")
    (directory / "deep/er.py").write_bytes(b"x = 1\n")
    (directory / "other.py").write_bytes(b"x = 2\n")
    return directory


def test_named_code_is_copied_and_nothing_beside_it(code, tmp_path):
    target = tmp_path / "scratch/other/repo"
    copy_code(named(code, "modeling.py", "deep/er.py"), target)
    found = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert found == {"modeling.py", "deep/er.py"}
    assert (target / "deep/er.py").read_bytes() == b"x = 1\n"


def _altered(path: Path) -> None:
    path.write_bytes(b"x = 9\n")


def _grown(path: Path) -> None:
    path.write_bytes(b"x = 1\n#")


def _linked(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent.parent / "other.py")


@pytest.mark.parametrize("change", [_altered, _grown, _linked, Path.unlink])
def test_named_code_that_is_not_what_was_admitted_is_refused(code, tmp_path, change):
    wanted = named(code, "modeling.py", "deep/er.py")
    change(code / "deep/er.py")
    with pytest.raises(LoadRefused):
        copy_code(wanted, tmp_path / "scratch")
    assert not (tmp_path / "scratch/deep/er.py").exists()


@pytest.mark.parametrize("repo", ["../x", "/etc", "a/../b", "a/b/c", "", ".", "a--b"])
def test_named_code_of_no_repository_is_no_specification(code, repo):
    with pytest.raises(FormatError, match="repository"):
        named(code, "modeling.py").model_validate(
            {**named(code, "modeling.py").model_dump(), "repo": repo}
        )


# --- sealed copies ---------------------------------------------------------------------------------


def sealed_spec(directory: Path, files: tuple[WeightFile, ...] | None = None) -> LoadSpec:
    return spec(directory, files).model_copy(update={"sealed_copy": True})


def test_a_sealed_copy_is_read_under_the_same_names(model):
    with hold(sealed_spec(model)) as files:
        assert files.sealed
        assert files.directory != model
        for file in files_of(model):
            data = (files.directory / file.path).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file.sha256
        assert files.unchanged()
        folder = files.directory
    assert not folder.exists()


def test_no_write_to_the_store_reaches_a_sealed_copy(model):
    before = (model / "model.safetensors").read_bytes()
    with hold(sealed_spec(model)) as files:
        with (model / "model.safetensors").open("r+b") as out:
            out.write(b"\0" * 100)
        (model / "config.json").unlink()
        assert (files.directory / "model.safetensors").read_bytes() == before
        assert (files.directory / "config.json").read_bytes() == b"{}"
        assert files.unchanged()


def test_nobody_can_write_to_a_sealed_copy_not_even_its_maker(model):
    with hold(sealed_spec(model)) as files:
        path = files.directory / "model.safetensors"
        handle = os.open(path, os.O_RDWR)
        try:
            with pytest.raises(PermissionError):
                os.write(handle, b"x")
            with pytest.raises(PermissionError):
                os.ftruncate(handle, 10)
            with pytest.raises(PermissionError):
                mmap.mmap(handle, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            with pytest.raises(PermissionError):
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, 0)
        finally:
            os.close(handle)


def test_a_link_that_leads_elsewhere_is_noticed(model):
    with hold(sealed_spec(model)) as files:
        link = files.directory / "config.json"
        link.unlink()
        link.write_bytes(b"{}")
        assert not files.unchanged()


def test_other_bytes_are_refused_in_a_sealed_copy_too(model):
    found = sealed_spec(model)
    data = bytearray((model / "model.safetensors").read_bytes())
    data[7] ^= 1
    (model / "model.safetensors").write_bytes(data)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert fault_of(found) is LoadFault.FILE_CHANGED
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_hashed_is_what_was_sealed(model, monkeypatch):
    """A store that changes between the copy and the hash changes nothing: the copy is hashed."""
    real = worker_sealed.sealed_copy

    def then_overwritten(source: int, file: WeightFile) -> int:
        memory = real(source, file)
        (model / file.path).write_bytes(b"\0" * file.size)
        return memory

    monkeypatch.setattr(worker_files, "sealed_copy", then_overwritten)
    found = sealed_spec(model)
    with hold(found) as files:
        assert (files.directory / "config.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOMEM, LoadFault.OUT_OF_MEMORY),
        (errno.ENOSYS, LoadFault.NO_SEALED_COPY),
        (errno.EFBIG, LoadFault.NO_SEALED_COPY),
    ],
)
def test_why_no_sealed_copy_could_be_made(model, monkeypatch, number, fault):
    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", fails)
        assert fault_of(sealed_spec(model)) is fault
        patch.setattr(os, "memfd_create", fails)
        assert fault_of(sealed_spec(model)) is fault
    assert len(list(Path("/proc/self/fd").iterdir())) == before
