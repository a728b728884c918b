"""The commit proof against git servers that others wrote."""

import threading
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

from pratique.core.snapshot import Proof
from pratique.fetch.git_objects import fetch_blobs, fetch_commit_objects
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint
from pratique.flows.loopback_hub import Reply, Request
from pratique.formats.git import object_id, walk_commit
from tests.support.hub.git_backend import AVAILABLE, backend, hosted, make_repository
from tests.support.hub.world import REPO, World

needs_git = pytest.mark.skipif(not AVAILABLE, reason="needs git and git-http-backend")
FILES = {
    "config.json": b'{"a": 1}\n',
    "README.md": b"---\nlicense: mit\n---\n",
    **{f"deep/{i:03}/file.json": b'{"n": %d}\n' % i for i in range(40)},
}


@pytest.fixture(params=[True, False], ids=["filters", "no filters"])
def git_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    world = World(tmp_path)
    root = tmp_path / "repo.git"
    world.commit = make_repository(root, FILES, filters=request.param)
    entry = hosted(REPO, world.commit, FILES)
    entry.refs["refs/heads/main"] = world.commit
    world.hub.repos[REPO] = entry

    def answer(asked: Request, reply: Reply) -> Reply:
        return backend(root, REPO, asked) or reply

    world.lies = [answer]
    return world


@needs_git
def test_a_repository_served_by_git_itself(git_world: World) -> None:
    snapshot = git_world.fetch()
    assert snapshot.proof is Proof.VERIFIED
    assert snapshot.source.commit == git_world.commit
    carried = list((snapshot.model_dir.parent / "provenance/git").rglob("*"))
    assert len([p for p in carried if p.parent.name == "trees"]) == 42
    assert not [p for p in carried if p.parent.name == "blobs"]


@needs_git
def test_single_blobs_by_id(git_world: World) -> None:
    wanted = object_id("blob", FILES["config.json"])
    with (
        git_world.hub.running(git_world.respond) as url,
        hub_session(Endpoint.parse(url), patience=git_world.recorder.patience) as session,
    ):
        found = fetch_blobs(session, REPO, [wanted])
    assert found.body(wanted, "blob") == FILES["config.json"]


class _Silent(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@needs_git
def test_dulwich_as_a_server_which_ignores_filters(tmp_path: Path) -> None:
    root = tmp_path / "repo.git"
    commit = make_repository(root, FILES, filters=True)
    with Repo(str(root)) as repo:
        app = make_wsgi_chain(DictBackend({f"/{REPO}": repo}))
        server = make_server("127.0.0.1", 0, app, handler_class=_Silent)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            with hub_session(Endpoint.parse(url)) as session:
                objects = fetch_commit_objects(session, REPO, commit)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    parsed, paths = walk_commit(objects, commit)
    assert {p.path for p in paths} == set(FILES)
    assert parsed.author.name == "Ann"
