"""A quantised copy of a vetted model, made in a confined child and vetted like the model itself.

1. A child that can read the model and write one empty folder quantises the weights. It has no
   network and no keys; what it answers is ignored, and what it wrote is taken as hostile.
2. Only weights are accepted from it, under names that weights have. Configuration, tokenizer and all
   else are the vetted bytes; to config.json the fixed settings of the variant are added here.
3. The gate judges the whole copy. Nothing else than what it passed is carried.
4. The conversion statement is written here: digests of input and output, as measured here.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from pratique.confine import Ok, Requirement, model_lock, run_job
from pratique.core.bundle import VARIANTS, is_git_file
from pratique.core.candidate import Candidate, Gate
from pratique.core.findings import Verdict, VerdictState
from pratique.core.ids import RelPath, shown
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.policy import Policy
from pratique.core.snapshot import VettedSnapshot
from pratique.core.stages import Stage
from pratique.core.variants import (
    NOT_PROVED,
    SETTINGS,
    STATEMENT,
    STATEMENT_SCHEMA,
    TOOLS,
    VariantName,
    is_top_weights,
)
from pratique.errors import ApprovalNeeded, SealError, VettingRefused
from pratique.fit import read_shape
from pratique.formats import json_strict
from pratique.seal.intake import manifest_of, measure_folder
from pratique.store import disk, tree
from pratique.store.measure import Measured, Wanted

_JOB: Final = "pratique.jobs.quantise"
_CONFIG: Final = "config.json"
_WRITTEN: Final = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors\Z|model\.safetensors\.index\.json\Z"
)
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class MadeVariant:
    """A copy that the gate passed: `files` lie below `root`; `statement` is written beside them."""

    name: VariantName
    root: Path
    files: tuple[Measured, ...]
    statement: bytes

    @property
    def folder(self) -> str:
        """Where it goes, in the payload."""
        return f"{VARIANTS}/{self.name}"

    @property
    def statement_path(self) -> RelPath:
        """Where its conversion statement goes, in the payload."""
        return RelPath(f"{self.folder}/{STATEMENT}")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to convert, and who judges what comes out. `left_behind`: paths that are not carried."""

    vetted: VettedSnapshot
    policy: Policy
    gate: Gate
    left_behind: frozenset[RelPath]
    wanted: Wanted
    on_verdict: Callable[[Verdict], None]

    def make(self, name: VariantName, folder: Path) -> MadeVariant:
        """Make one variant below the empty, private `folder`, which must outlive the sealing.

        Raises:
            SealError: the model cannot be quantised, or the child did not do it.
            VettingRefused, ApprovalNeeded: the gate does not let the copy pass.
            ConfinementError: the lock that the policy asks for cannot be closed here.
            StorageError: the disk is full.
        """
        config = self._config(name)
        root = folder / name
        with disk.storing(str(folder)):
            root.mkdir(mode=0o700)
        self._quantise(name, root)
        made = _accepted_names(root)
        with disk.storing(str(root)):
            (root / _CONFIG).write_bytes(config)
            kept = self._copy_kept(root)
        # Once: what the child wrote and what was put beside it, in a folder that is ours now.
        measured = measure_folder(root, None, self.wanted)
        files = manifest_of(measured)
        self._judge(name, root, files)
        return MadeVariant(name, root, measured, self._statement(name, files, made, kept))

    @property
    def _model(self) -> Path:
        return self.vetted.snapshot.model_dir

    def _config(self, name: VariantName) -> bytes:
        """The vetted configuration with the variant's settings added."""
        path = self._model / _CONFIG
        if not path.is_file() or not any(
            is_top_weights(f.path) for f in self.vetted.snapshot.manifest
        ):
            raise SealError(
                "a variant needs config.json and safetensors weights",
                hint="convert the weights first, or leave --variant out",
            )
        config = dict(json_strict.parse_object(path.read_bytes()))
        if "quantization_config" in config:
            raise SealError(
                "the model is quantised already",
                hint="leave --variant out; it is served as it is",
            )
        if "dtype" not in config and "torch_dtype" not in config:
            config["dtype"] = read_shape(self._model).dtype
        whole = {**config, "quantization_config": SETTINGS[name]}
        return (json.dumps(whole, indent=2, sort_keys=True) + "\n").encode()

    def _quantise(self, name: VariantName, root: Path) -> None:
        """Run the child; it ends, or nothing of it is used."""
        manifest = self.vetted.snapshot.manifest
        size, threads = manifest.total_size, max(1, len(os.sched_getaffinity(0)))
        lock = model_lock(
            readable=[self._model],
            writable=[root],
            memory=5 * size + 4096 * _MIB,
            file_size=2 * size + 64 * _MIB,
            wall_seconds=600 + size / (5 * _MIB),
            requirement=Requirement(self.policy.serve.lock),
            environment={"OMP_NUM_THREADS": str(threads)},
        )
        request = {
            "model_dir": str(self._model.absolute()),
            "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in manifest],
            "variant": name,
            "output_dir": str(root.absolute()),
            "threads": threads,
        }
        result = run_job(_JOB, json.dumps(request).encode(), lock)
        if not isinstance(result.outcome, Ok):
            raise SealError(
                f"the variant {name} was not made: the confined child {result.describe()}",
                hint="not every architecture can be quantised; leave --variant out, or free memory",
            )

    def _copy_kept(self, root: Path) -> tuple[FileEntry, ...]:
        """Copy what a variant shares with the model. Their digests are compared by the gate's subject."""
        kept = tuple(
            file
            for file in self.vetted.snapshot.manifest
            if file.path != _CONFIG
            and not is_top_weights(file.path)
            and not is_git_file(file.path)
            and file.path not in self.left_behind
        )
        for file in kept:
            if file.path == STATEMENT:
                raise SealError(
                    f"the model has a file named {STATEMENT}, the name of a variant's statement",
                    hint="leave --variant out",
                )
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._model / file.path, target, follow_symlinks=False)
        return kept

    def _judge(self, name: VariantName, root: Path, files: Manifest) -> None:
        """The copy passes the same gate as the model, and these very bytes do."""
        snapshot = self.vetted.snapshot
        verdict = self.gate.judge(
            Candidate(
                name=f"{snapshot.name}-{name}",
                root=root,
                repo=snapshot.source.repo,
                made_from=snapshot.source.commit,
                measured=files,
            ),
            Stage.CONTENT,
        )
        self.on_verdict(verdict)
        match verdict.state:
            case VerdictState.FAILED:
                raise VettingRefused(
                    f"the variant {name} of {snapshot.label} was refused by the gate",
                    hint="see the findings marked 'refuse'; seal without it",
                )
            case VerdictState.NEEDS_APPROVAL:
                raise ApprovalNeeded(
                    f"the variant {name} of {snapshot.label} needs an allowance of its own",
                    hint="see the findings marked 'approve'; add an allowance, or seal without it",
                )
            case VerdictState.PASSED:
                if verdict.subject.digest != files.digest:
                    raise SealError(
                        f"the variant {name} changed while it was judged",
                        hint="something writes to the folder of the bundle: stop it",
                    )

    def _statement(
        self,
        name: VariantName,
        files: Manifest,
        made: frozenset[RelPath],
        kept: tuple[FileEntry, ...],
    ) -> bytes:
        by_path = {file.path: file for file in files}
        expected = {*made, *(file.path for file in kept), RelPath(_CONFIG)}
        if by_path.keys() != expected or any(by_path[file.path] != file for file in kept):
            raise SealError(
                f"files of the variant {name} are not those that were vetted and made",
                hint="something writes to the snapshot or to the folder of the bundle: stop it",
            )
        shared = {file.path for file in kept}
        inputs = [
            f for f in self.vetted.snapshot.manifest if is_top_weights(f.path) or f.path == _CONFIG
        ]
        statement = {
            "schema": STATEMENT_SCHEMA,
            "variant": name,
            "status": NOT_PROVED,
            "subject": self.vetted.snapshot.manifest.digest,
            "policy": self.policy.digest,
            "inputs": _digests(inputs),
            "outputs": _digests([f for f in files if f.path not in shared]),
            "unchanged": _digests(list(kept)),
            "settings": SETTINGS[name],
            "tools": {tool: metadata.version(tool) for tool in TOOLS},
        }
        return (json.dumps(statement, indent=2, sort_keys=True) + "\n").encode()


def _accepted_names(root: Path) -> frozenset[RelPath]:
    """What the child wrote: regular files with the names of weights, or nothing of it is used."""
    made = tree.walk(root).files
    for path in made:
        if not _WRITTEN.match(path):
            raise SealError(
                f"the child that quantised wrote {shown(path)}, which is no weights file",
                hint="do not carry this model; see `pratique vet`",
            )
    if not any(path.endswith(".safetensors") for path in made):
        raise SealError("the child that quantised wrote no weights", hint="leave --variant out")
    return frozenset(made)


def _digests(files: list[FileEntry]) -> list[dict[str, object]]:
    return [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in files]
