"""Another scanner's view, inside the lock: what it calls dangerous, by file. Telemetry off."""

import importlib
import json
import os
from collections.abc import Callable, Iterator


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Ask one installed scanner about a directory; return [[path, message], …] as JSON."""
    asked = json.loads(request)
    os.environ |= {"PROMPTFOO_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "NO_ANALYTICS": "1"}
    note(asked["scanner"])
    problems = _SCANNERS[asked["scanner"]](asked["root"])
    return json.dumps([[path[:4096], message[:500]] for path, message in problems][:1000]).encode()


def _picklescan(root: str) -> Iterator[tuple[str, str]]:
    scanner = importlib.import_module("picklescan.scanner")
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118  # a scanner takes text
            result = scanner.scan_file_path(path)
            bad = [
                f"{g.module}.{g.name}"
                for g in result.globals
                if g.safety is scanner.SafetyLevel.Dangerous
            ]
            if bad:
                yield os.path.relpath(path, root), f"picklescan: dangerous import {bad[0]}"


def _modelaudit(root: str) -> Iterator[tuple[str, str]]:
    core = importlib.import_module("modelaudit.core")
    for issue in core.scan_model_directory_or_file(root, timeout=600).issues:
        if getattr(issue.severity, "value", issue.severity) == "critical":
            path = str(issue.location or "").split(" (")[0].split(":")[0]
            inside = path.startswith(root)
            yield os.path.relpath(path, root) if inside else "", f"modelaudit: {issue.message}"


_SCANNERS = {"picklescan": _picklescan, "modelaudit": _modelaudit}
