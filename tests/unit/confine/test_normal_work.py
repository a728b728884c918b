"""The look-alike of an attack: ordinary work of a model, inside the lock, must not be hindered."""

import json

import pytest

from pratique.confine import Ok, model_lock
from tests.support.confined import hostile as work
from tests.support.models import write_model


def _done(result):
    assert isinstance(result.outcome, Ok), (result.outcome, result.stderr)
    assert result.confinement.strict
    return json.loads(result.outcome.data)


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_transformers_loads_and_runs_a_model_with_threads(tmp_path, architecture):
    write_model(tmp_path / "model", architecture)
    text = f"""
import torch
torch.set_num_threads(2)
product = torch.ones(300, 300) @ torch.ones(300, 300)
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
path = {str(tmp_path / "model")!r}
tokens = AutoTokenizer.from_pretrained(path)("the ship", return_tensors="pt")
if {architecture == "bert"}:
    answer = AutoModel.from_pretrained(path, dtype="auto")(**tokens).last_hidden_state.shape[1]
else:
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", device_map="auto")
    answer = model.generate(**tokens, max_new_tokens=4, min_new_tokens=4, do_sample=True).shape[1]
    answer -= tokens["input_ids"].shape[1]
out = [float(product[0, 0]), answer > 0, torch.get_num_threads()]
"""
    result = work(text, model_lock(readable=[tmp_path / "model"], memory=4 << 30))
    assert _done(result) == [300.0, True, 2]


def test_bitsandbytes_and_accelerate_can_be_imported():
    text = "import bitsandbytes, accelerate; out = bitsandbytes.__version__"
    assert _done(work(text, model_lock()))


def test_it_has_a_home_and_a_temp_directory_of_its_own():
    text = (
        "import os, tempfile\nwith tempfile.NamedTemporaryFile() as f: f.write(b'x')\n"
        "home = os.path.expanduser('~')\nopen(home + '/cache', 'w').write('x')\n"
        "os.chmod(home + '/cache', 0o600)\nout = os.listdir(home)"
    )
    assert _done(work(text, model_lock())) == ["cache"]


def test_the_scratch_of_one_child_is_not_that_of_the_next():
    text = "import os\nout = os.listdir(os.environ['HOME'])\nopen(os.environ['HOME'] + '/x', 'w')"
    assert [_done(work(text, model_lock())) for _ in range(2)] == [[], []]


def test_a_granted_directory_can_be_worked_in(tmp_path):
    """Conversion and disk offload: files made, grown, renamed, removed, and seen outside."""
    text = f"""
import os, mmap
os.chdir({str(tmp_path)!r})
with open("part", "wb") as file:
    file.truncate(1 << 20)
with open("part", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    view[:4] = b"data"
os.mkdir("folder")
os.rename("part", "folder/whole")
open("gone", "w").close()
os.remove("gone")
out = sorted(os.listdir("."))
"""
    lock = model_lock(writable=[tmp_path], file_size=1 << 21)
    assert _done(work(text, lock)) == ["folder"]
    assert (tmp_path / "folder" / "whole").read_bytes()[:4] == b"data"
