"""Packed matrices give the same model, in the same memory, or the model is loaded as it lies."""

import mmap
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pratique.core.load import LoadSpec
from pratique.core.rungs import Rung
from pratique.fit import read_machine
from pratique.jobs import worker_load, worker_packed
from pratique.jobs.worker_load import load
from pratique.jobs.worker_packed import NotPackable, PackedLinear, pack
from tests.support import models
from tests.support.serving import files_of, limits_for

pytestmark = pytest.mark.skipif(
    not read_machine().packs, reason="matrices are packed on processors with AVX-512 alone"
)
NEAR = {"F32": 1e-5, "BF16": 3e-2}


def spec_of(directory: Path, *, packed: bool) -> LoadSpec:
    return LoadSpec(
        model_dir=str(directory),
        files=files_of(directory),
        rung=Rung.AUTO,
        limits=limits_for(),
        packed=packed,
    )


def linears(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [m for m in model.modules() if isinstance(m, torch.nn.Linear)]


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_a_packed_model_answers_as_one_that_is_not(tmp_path, architecture, dtype):
    directory = models.write_model(tmp_path, architecture, dtype=dtype)
    plain = load(spec_of(directory, packed=False), directory)
    packed = load(spec_of(directory, packed=True), directory)
    assert (plain.packed, packed.packed) == (False, True)
    assert linears(plain.model)
    assert not linears(packed.model)
    ids = torch.tensor([[5, 6, 7, 8, 9], [9, 3, 5, 4, 7]])
    with torch.inference_mode():
        wanted, made = plain.model(input_ids=ids)[0], packed.model(input_ids=ids)[0]
    assert wanted.dtype == made.dtype
    assert (wanted - made).abs().max() <= NEAR[dtype] * wanted.abs().max()


def test_a_head_that_is_the_embedding_leaves_the_embedding_alone(tmp_path):
    directory = models.write_tied(tmp_path)
    plain = load(spec_of(directory, packed=False), directory).model
    packed = load(spec_of(directory, packed=True), directory).model
    assert isinstance(packed.lm_head, PackedLinear)
    assert torch.equal(packed.get_input_embeddings().weight, plain.get_input_embeddings().weight)


class Small(torch.nn.Module):
    """A model in miniature; `looks` takes a matrix itself, and rows."""

    def __init__(self, looks: Callable[[torch.Tensor, torch.Tensor], Any] | None = None) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 64)
        self.one = torch.nn.Linear(64, 64)
        self.same = self.one
        self.looks = looks

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        rows = self.same(self.one(self.embedding(input_ids)))
        return rows if self.looks is None else self.looks(self.one.weight, rows)


LOOKS = {
    "sum": lambda weight, rows: rows + weight.sum(),
    # Computed with a tensor that holds nothing, these are no error: Mamba's, MobileBERT's, RWKV's.
    "product": lambda weight, rows: weight @ rows.transpose(1, 2),
    "product from the right": lambda weight, rows: rows @ weight.t(),
    "linear": lambda weight, rows: torch.nn.functional.linear(rows, weight),
    "slice": lambda weight, rows: torch.nn.functional.linear(rows[..., :8], weight[:, :8]),
    "convolution": lambda weight, rows: torch.conv1d(rows.transpose(1, 2), weight.unsqueeze(-1)),
    "written": lambda weight, rows: (weight.div_(2), rows)[1],
    "data written": lambda weight, rows: (weight.data.div_(2), rows)[1],
    "numbers": lambda weight, rows: rows + weight.tolist()[0][0],
}


def test_a_layer_that_hangs_in_two_places_is_packed_once():
    model = Small().eval()
    ids = torch.tensor([[1, 2]])
    with torch.inference_mode():
        wanted = model(ids)
        assert pack(model)
        assert model.one is model.same
        assert torch.allclose(model(ids), wanted, atol=1e-5)


@pytest.mark.parametrize("name", list(LOOKS))
def test_a_model_that_looks_into_its_matrices_is_not_packable(name):
    with pytest.raises(NotPackable):
        pack(Small(LOOKS[name]).eval())


def test_what_a_matrix_is_like_may_be_asked():
    def asks(weight, rows):
        assert isinstance(weight, torch.Tensor)
        assert weight.shape == (64, 64)
        assert weight.size(0) == weight.numel() // 64
        return rows.to(weight.device, weight.dtype)

    model = Small(asks).bfloat16().eval()
    assert pack(model)
    with torch.inference_mode():
        made = model(torch.tensor([[1, 2]]))
    assert (made.device.type, made.dtype) == ("cpu", torch.bfloat16)
    assert torch.isfinite(made).all()


class Later(Small):
    """Looks into a matrix for the second token alone."""

    def forward(self, input_ids: torch.Tensor, past_key_values: object = None) -> Any:
        self.looks = LOOKS["product"] if past_key_values is not None else None
        rows = super().forward(input_ids)
        return SimpleNamespace(logits=rows, past_key_values=rows)


class LaterToo(Small):
    """The same of a family that calls its state otherwise."""

    def forward(self, input_ids: torch.Tensor, cache_params: object = None) -> Any:
        self.looks = LOOKS["product"] if cache_params is not None else None
        rows = super().forward(input_ids)
        return SimpleNamespace(logits=rows, cache_params=rows)


@pytest.mark.parametrize("kind", [Later, LaterToo])
def test_a_model_that_looks_into_its_matrices_later_is_not_packable_either(kind):
    with pytest.raises(NotPackable):
        pack(kind().eval())


class Doubled(torch.nn.Linear):
    """Does more than multiply."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - its name
        return 2 * super().forward(input)


def test_layers_of_another_class_are_left_as_they_are():
    model = Small().eval()
    model.one = model.same = Doubled(64, 64)
    assert not pack(model)
    assert type(model.one) is Doubled


def test_half_precision_of_the_other_kind_is_left_as_it_is():
    model = Small().half().eval()
    model.embedding.float()
    model.forward = lambda input_ids: input_ids  # type: ignore[method-assign]
    assert not pack(model)
    assert type(model.one) is torch.nn.Linear


def test_a_kernel_that_gives_another_product_is_not_used(monkeypatch):
    def wrong(self: PackedLinear, rows: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*rows.shape[:-1], self.out_features)

    monkeypatch.setattr(PackedLinear, "forward", wrong)
    with pytest.raises(NotPackable):
        pack(Small().eval())


def test_what_cannot_be_packed_is_loaded_as_it_lies(tmp_path, monkeypatch):
    directory = models.write_model(tmp_path, "llama")

    def lacking(self: PackedLinear, linear: torch.nn.Linear) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")

    monkeypatch.setattr(PackedLinear, "__init__", lacking)
    loaded = load(spec_of(directory, packed=True), directory)
    assert not loaded.packed
    assert linears(loaded.model)


def test_what_could_not_be_packed_is_gone_before_it_is_loaded_again(tmp_path, monkeypatch):
    directory = models.write_model(tmp_path, "llama")
    read, before = worker_load._weights, []

    def weights(*args):
        assert all(model() is None for model in before)
        model = read(*args)
        before.append(weakref.ref(model))
        return model

    def fails(model):
        raise ValueError

    monkeypatch.setattr(worker_load, "_weights", weights)
    monkeypatch.setattr(worker_packed, "_try", fails)
    assert not load(spec_of(directory, packed=True), directory).packed
    assert len(before) == 2


def anonymous() -> int:
    """Bytes in memory that are no file's."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


IN_VAIN = """
import sys
from pathlib import Path
from pratique.jobs import worker_packed
from pratique.jobs.worker_load import load
from tests.unit.jobs.test_worker_packed import anonymous, spec_of

sizes = []

def fails(model):
    sizes.append(anonymous())
    raise ValueError

worker_packed._try = fails
directory = Path(sys.argv[1])
sizes.append(anonymous())
loaded = load(spec_of(directory, packed=True), directory)
assert not loaded.packed
print(*sizes, anonymous())
"""


def test_what_was_packed_in_vain_is_no_memory_of_the_second_load(tmp_path):
    sizes = models.Sizes(hidden=256, intermediate=1024, layers=16, heads=8, head_dim=32)
    directory = models.write_model(tmp_path, "llama", sizes=sizes)
    # A process of its own: in this one memory that earlier tests let go would be used again unseen.
    command = [sys.executable, "-c", IN_VAIN, str(directory)]
    root = Path(__file__).parents[3]
    said = subprocess.run(
        command, capture_output=True, text=True, cwd=root, check=True, timeout=300
    )
    before, packed, after = map(int, said.stdout.split())
    assert packed - before > 40 * 2**20
    assert after - before < (packed - before) // 4


def test_a_models_own_code_is_never_packed(tmp_path):
    model = Small()
    assert not type(model).__module__.startswith("transformers.models.")
    from pratique.jobs.worker_load import _is_the_librarys

    assert not _is_the_librarys(model)


# --- memory ------------------------------------------------------------------------------


def resident_of(path: Path) -> int:
    """Bytes of a mapped file that are in memory now."""
    text = Path("/proc/self/smaps").read_text()
    blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text)
    sizes = [re.search(r"\nRss:\s+(\d+) kB", block) for block in blocks if str(path) in block]
    return sum(int(size[1]) * 1024 for size in sizes if size)


def test_pages_of_the_mapped_file_go_back_to_the_kernel(tmp_path):
    sizes = models.Sizes(hidden=256, intermediate=1024, layers=4, heads=8, head_dim=32)
    directory = models.write_model(tmp_path, "llama", sizes=sizes)
    file = directory / "model.safetensors"
    loaded = load(spec_of(directory, packed=True), directory)
    assert loaded.packed
    matrices = sum(
        p.nbytes for p in load(spec_of(directory, packed=False), directory).model.parameters()
    )
    assert resident_of(file) < matrices // 2


def mapped(path: Path, count: int) -> tuple[mmap.mmap, torch.Tensor]:
    path.write_bytes(torch.ones(count).numpy().tobytes())
    with path.open("r+b") as file:
        area = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
    return area, torch.frombuffer(area, dtype=torch.float32)


def test_only_memory_of_a_file_is_given_back(tmp_path):
    _, ones = mapped(tmp_path / "ones", 2**16)
    own = torch.ones(2**20)
    handler = worker_packed._Mapped(torch.nn.Linear(1, 1))
    ones[:] = (
        2  # a private page that is no longer the file's: given back, it reads as the file does
    )
    handler.give_back(ones)
    handler.give_back(own)
    assert ones[2**15] == 1
    assert torch.equal(own, torch.ones(2**20))


def test_neighbours_on_the_same_page_keep_what_they_hold(tmp_path):
    _, ones = mapped(tmp_path / "ones", 2**16)
    handler = worker_packed._Mapped(torch.nn.Linear(1, 1))
    ones[:] = 2
    handler.give_back(ones[100:-100])
    assert torch.equal(ones[:100], torch.full((100,), 2.0))
    assert torch.equal(ones[-100:], torch.full((100,), 2.0))
    assert ones[2**15] == 1


def test_a_shared_matrix_is_not_given_back(tmp_path):
    _, ones = mapped(tmp_path / "ones", 2**16)
    model = Small()
    model.embedding.weight = model.one.weight = torch.nn.Parameter(ones.view(-1, 64))
    handler = worker_packed._Mapped(model)
    with torch.no_grad():
        ones[:] = 2
    handler.give_back(model.one.weight)
    assert torch.equal(ones, torch.full_like(ones, 2))


def test_a_matrix_that_two_layers_have_is_not_given_back_either(tmp_path):
    _, ones = mapped(tmp_path / "ones", 2**19)
    model = Small().eval()
    model.same = torch.nn.Linear(2**13, 64, bias=False)
    model.one = torch.nn.Linear(2**13, 64, bias=False)
    model.one.weight = model.same.weight = torch.nn.Parameter(ones.view(64, -1))
    model.forward = lambda input_ids: input_ids  # type: ignore[method-assign]
    with torch.no_grad():
        ones[:] = 2
    assert pack(model)
    with torch.inference_mode():
        for layer in (model.one, model.same):
            assert torch.equal(layer(torch.ones(1, 2**13)), torch.full((1, 64), 2.0**14))


def test_pages_that_were_mapped_again_go_back_in_the_end(tmp_path):
    path = tmp_path / "ones"
    _, ones = mapped(path, 2**20)
    handler = worker_packed._Mapped(torch.nn.Linear(1, 1))
    halves = ones[100 : 2**19 + 100], ones[2**19 + 100 : -100]
    for half in halves:
        half.sum()
        handler.give_back(half)
    assert ones.sum() == 2**20  # as reading a neighbour would
    assert resident_of(path) > 2**21
    handler.sweep()
    assert resident_of(path) <= 2 * mmap.PAGESIZE  # the ends, which somebody else's data share


def test_small_matrices_are_not_copied_to_be_packed():
    model = Small().eval()
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    worker_packed._take_small(model)
    same = {name for name, p in model.named_parameters() if p.data_ptr() == before[name]}
    assert same == {"one.weight"}
    model.embedding.weight = model.one.weight
    worker_packed._take_small(model)
    assert model.embedding.weight is model.one.weight
    assert model.one.weight.data_ptr() != before["one.weight"]


def test_a_lack_of_memory_is_told_as_one(monkeypatch):
    def short(self: PackedLinear, linear: torch.nn.Linear) -> None:
        raise RuntimeError("could not create a memory object")

    monkeypatch.setattr(PackedLinear, "__init__", short)
    with pytest.raises(RuntimeError, match="memory"):
        pack(Small().eval())
