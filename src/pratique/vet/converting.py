"""Pickle weights become safetensors only by allowance, in a confined child, and are vetted again.

The result is a new directory: everything else copied, each torch file replaced, and a conversion
statement (`conversion.json`) with the digests of input and output and the tools' versions.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pratique.confine import Ok, Requirement, model_lock, run_job
from pratique.core.candidate import Candidate
from pratique.core.findings import Finding, Verdict, VerdictState
from pratique.core.ids import parse_digest, shown
from pratique.core.policy import Policy
from pratique.errors import ApprovalNeeded, FormatError, StorageError, UsageError, VettingRefused
from pratique.formats import json_strict
from pratique.formats.json_strict import Json
from pratique.vet.judging import judge

STATEMENT: Final = "conversion.json"
_MIB: Final = 2**20
_SHARDED: Final = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin\Z")


@dataclass(frozen=True, slots=True)
class Converted:
    """One file: names relative to the directories, digests of input and output, tools' versions."""

    source: str
    target: str
    input_sha256: str
    output_sha256: str
    tensors: tuple[str, ...]
    tools: dict[str, str]


def convert(candidate: Candidate, policy: Policy, out: Path) -> tuple[Converted, ...]:
    """Write a copy of the candidate with safetensors in place of allowed torch weights to `out`.

    Guarantees that the candidate is let in under `policy` (which takes an allowance per torch file),
    that pickles are read by torch's weights_only reader in a child without network that can write
    one file, that every tensor was compared bit by bit, and that `out` appears only when complete.

    Raises:
        VettingRefused, ApprovalNeeded: the gate does not let the candidate in.
        UsageError: there is nothing to convert, or `out` exists.
    """
    if out.exists():
        raise UsageError(f"{out} exists", hint="give a new directory with -o")
    verdict = judge(candidate, policy)
    _check(verdict)
    wanted = _torch_files(verdict)
    if not wanted:
        raise UsageError("there are no torch weights to convert", hint="nothing to do")
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _copy(candidate.root, draft, {f.path for f in wanted})
        converted = tuple(_convert(candidate.root, draft, finding, policy) for finding in wanted)
        _write_index(draft, converted)
        _write_statement(draft, converted, verdict)
        draft.rename(out)
    except OSError as error:
        raise StorageError(
            f"cannot write {out}: {error.strerror}", hint="free space, or give another directory"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return converted


def _check(verdict: Verdict) -> None:
    match verdict.state:
        case VerdictState.PASSED:
            return
        case VerdictState.NEEDS_APPROVAL:
            raise ApprovalNeeded(
                "pickle weights are converted only by allowance",
                hint="`pratique vet` prints the entry to add to your policy for each file",
            )
        case VerdictState.FAILED:
            first = next(f for f in verdict.findings if f.blocks and f.allowed_by is None)
            raise VettingRefused(
                f"{first.path or verdict.subject.name}: {first.message}",
                hint="what the gate refuses is not converted; see `pratique vet`",
            )


def _torch_files(verdict: Verdict) -> list[Finding]:
    return [
        f for f in verdict.findings
        if f.check == "torch-zip" and f.allowed_by is not None and "TorchScript" not in f.message
    ]  # fmt: skip


def _copy(root: Path, draft: Path, left_out: set[str]) -> None:
    def ignore(folder: str, names: list[str]) -> set[str]:
        below = Path(folder).relative_to(root)
        return {
            name for name in names
            if (below / name).as_posix() in left_out or name.endswith(".bin.index.json")
        }  # fmt: skip

    shutil.copytree(root, draft, symlinks=True, ignore=ignore)


def _target_name(source: str) -> str:
    folder, slash, name = source.rpartition("/")
    if match := _SHARDED.match(name):
        return f"{folder}{slash}model{match[1] or ''}.safetensors"
    return f"{folder}{slash}{name.rpartition('.')[0]}.safetensors"


def _convert(root: Path, draft: Path, finding: Finding, policy: Policy) -> Converted:
    source = (root / finding.path).resolve()
    target = draft.resolve() / _target_name(finding.path)
    if target.exists():
        raise UsageError(
            f"{finding.path} would become {target.name}, which is there already",
            hint="the repository has these weights as safetensors: leave the torch file out",
        )
    target.touch()
    size = source.stat().st_size
    lock = model_lock(
        readable=[source],
        writable=[target],
        memory=3 * size + 4096 * _MIB,
        file_size=2 * size + 64 * _MIB,
        wall_seconds=600 + size / (5 * _MIB),
        requirement=Requirement.REDUCED if policy.serve.lock == "reduced" else Requirement.STRICT,
        scratch=0,
    )
    request = json.dumps({"input": str(source), "output": str(target)}).encode()
    result = run_job("pratique.jobs.convert", request, lock)
    if not isinstance(result.outcome, Ok):
        raise VettingRefused(
            f"{finding.path} was not converted: the confined child {result.describe()}",
            hint="only flat mappings of names to dense tensors are converted",
        )
    done = _parse(result.outcome.data)
    if done.input_sha256 != finding.digest:
        raise VettingRefused(
            f"{finding.path} changed after it was vetted", hint="vet a copy that nobody writes to"
        )
    return replace(done, source=finding.path, target=_target_name(finding.path))


def _parse(data: bytes) -> Converted:
    answer = json_strict.parse_object(data)
    tensors, tools = answer.get("tensors"), answer.get("tools")
    if not isinstance(tensors, list) or not isinstance(tools, dict):
        raise FormatError("the converter gave an answer that cannot be read")
    return Converted(
        "",
        "",
        parse_digest(_text(answer.get("input_sha256"))),
        parse_digest(_text(answer.get("output_sha256"))),
        tuple(_text(name) for name in tensors),
        {key: _text(value) for key, value in tools.items()},
    )


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise FormatError(f"the converter gave {shown(str(value))} where text belongs")
    return value


def _write_index(draft: Path, converted: tuple[Converted, ...]) -> None:
    """Shards need an index; it is written anew from what the shards hold."""
    shards = [c for c in converted if re.search(r"-\d{5}-of-\d{5}\.safetensors\Z", c.target)]
    folders = {c.target.rpartition("/")[0] for c in shards}
    for folder in folders:
        inside = [c for c in shards if c.target.rpartition("/")[0] == folder]
        weight_map = {name: c.target.rpartition("/")[2] for c in inside for name in c.tensors}
        total = sum((draft / c.target).stat().st_size for c in inside)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        path = draft / folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_statement(draft: Path, converted: tuple[Converted, ...], verdict: Verdict) -> None:
    statement = {
        "schema": "pratique.conversion/v1",
        "subject": verdict.subject.digest,
        "policy": verdict.policy.digest,
        "files": [
            {
                "source": {"path": c.source, "sha256": c.input_sha256},
                "target": {"path": c.target, "sha256": c.output_sha256},
                "tensors": len(c.tensors),
                "compared": "every tensor, bit by bit",
                "tools": c.tools,
            }
            for c in converted
        ],
    }
    text = json.dumps(statement, indent=2, sort_keys=True) + "\n"
    (draft / STATEMENT).write_text(text, encoding="utf-8")
