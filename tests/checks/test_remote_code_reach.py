"""Code that is reached through relative imports of any shape is code that somebody answers for."""

import json
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.checks import remote_code
from pratique.vet.repo import Repo

POLICY = Policy.model_validate({"schema": "pratique.policy/v1", "name": "test"})


def reached(root: Path, files: dict[str, str]) -> set[str]:
    config = {"auto_map": {"AutoModel": "modeling_x.Model"}}
    (root / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    found = list(remote_code.CHECK.run(Repo(Candidate("x", root), Stage.CONTENT), POLICY))
    assert {f.disposition for f in found} == {Disposition.APPROVE}
    assert all(f.digest for f in found)
    return {f.path for f in found}


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("from . import helper", "helper.py"),
        ("from .helper import f", "helper.py"),
        ("from .pkg import helper", "pkg/helper.py"),
        ("from .pkg import helper as h, other", "pkg/helper.py"),
        ("from .pkg import f", "pkg/__init__.py"),
        ("from .pkg.deep import helper", "pkg/deep/helper.py"),
        ("def late():\n    from .pkg import helper", "pkg/helper.py"),
    ],
)
def test_it_is_followed(tmp_path: Path, line: str, file: str) -> None:
    assert reached(tmp_path, {"modeling_x.py": line, file: "f = 1"}) == {"modeling_x.py", file}


def test_upwards_too(tmp_path: Path) -> None:
    files = {
        "modeling_x.py": "from .pkg import inner",
        "pkg/inner.py": "from ..outer import f",
        "outer.py": "f = 1",
    }
    assert reached(tmp_path, files) == set(files)


def test_what_is_not_reached_is_no_finding_here(tmp_path: Path) -> None:
    files = {"modeling_x.py": "import helper, os", "helper.py": "f = 1", "train.py": "f = 1"}
    assert reached(tmp_path, files) == {"modeling_x.py"}
