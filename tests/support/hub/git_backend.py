"""Git's own server (`git http-backend`) behind a loopback Hub: somebody else's smart HTTP."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pratique.core.ids import CommitSha
from pratique.flows.loopback_hub import Hosted, HostedFile, Reply, Request
from pratique.formats.git import object_id

BACKEND = Path("/usr/lib/git-core/git-http-backend")
AVAILABLE = shutil.which("git") is not None and BACKEND.exists()

_ENV = {
    "PATH": os.environ.get("PATH", ""),
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


def git(*argv: str, cwd: Path) -> str:
    done = subprocess.run(
        ["git", *argv], cwd=cwd, env=_ENV, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make_repository(root: Path, files: Mapping[str, bytes], *, filters: bool) -> CommitSha:
    """Two commits in a bare repository at `root`; returns the second's id."""
    work = root.with_name(root.name + ".work")
    work.mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=work)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=work)
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "second", cwd=work)
    git("clone", "-q", "--bare", str(work), str(root), cwd=work)
    git("config", "uploadpack.allowFilter", "true" if filters else "false", cwd=root)
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=root)
    git("repack", "-adfq", "--depth=10", cwd=root)
    return CommitSha(git("rev-parse", "main", cwd=root))


def hosted(repo: str, commit: CommitSha, files: Mapping[str, bytes]) -> Hosted:
    """What the API says of a commit whose objects only git serves. No LFS."""
    tree = {
        path: HostedFile(path, len(body), object_id("blob", body), body)
        for path, body in files.items()
    }
    return Hosted(repo, commits={commit: tree}, refs={"refs/heads/main": object_id("blob", b"")})


def backend(root: Path, repo: str, request: Request) -> Reply | None:
    """Answer a git request for `repo` by CGI; None for anything else."""
    prefix = f"/{repo}"
    if not request.path.startswith(prefix + "/") or "/resolve/" in request.path:
        return None
    query = "&".join(f"{k}={v}" for k, v in request.query.items())
    env = {
        **_ENV,
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": request.path.removeprefix(prefix),
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }
    done = subprocess.run(
        [str(BACKEND)], env=env, input=request.body, capture_output=True, check=True
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = int(headers.pop("Status", "200").split()[0])
    return Reply(status, headers, body)
