"""Directories, caches, Xet storage and foreign references as sources."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pratique.core.findings import Disposition
from pratique.core.snapshot import Proof
from pratique.core.stages import Stage
from pratique.errors import FetchError, FormatError, UnreadableInput, VerificationRefused
from pratique.fetch.foreign import foreign_snapshots
from pratique.fetch.gating import GateRefused, GateWantsApproval
from pratique.fetch.local import LocalFetch, cache_source, directory_source, is_cache_snapshot
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint
from pratique.fetch.xet import HubXet, XetAccess
from pratique.flows.loopback_hub import Reply
from pratique.store.quarantine import open_snapshot
from tests.support.hub.world import (
    MODEL,
    REPO,
    WEIGHTS,
    StubGate,
    World,
    edited,
    on,
    policy,
    write_tree,
)

NAME = "model.safetensors"


def local(home: Path, gate: StubGate | None = None, **options) -> LocalFetch:
    return LocalFetch(home=home, policy=policy(), gate=gate or StubGate(), **options)


# --- a directory ---------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "my-model", {**MODEL, ".gitattributes": b"* text\n"})


def test_a_directory_is_copied_and_pinned_by_manifest(directory: Path, tmp_path: Path) -> None:
    with directory_source(directory) as source:
        snapshot = local(tmp_path / "home").run(source)
    assert (snapshot.source.kind, snapshot.proof) == ("local", Proof.NOT_APPLICABLE)
    assert {f.path for f in snapshot.manifest} == set(MODEL)
    assert snapshot.model_dir.parent.name == f"my-model@{snapshot.manifest.digest}"
    assert open_snapshot(snapshot.model_dir.parent) == snapshot
    record = json.loads((snapshot.model_dir.parent / "provenance/record.json").read_bytes())
    assert record["requested"] == str(directory)


def test_a_directory_below_a_name_that_is_no_utf8(directory: Path, tmp_path: Path) -> None:
    """What is written down of it can be read again."""
    odd = tmp_path / os.fsdecode(b"a \xff") / "my-model"
    odd.parent.mkdir()
    directory.rename(odd)
    with directory_source(odd) as source:
        snapshot = local(tmp_path / "home").run(source)
    assert open_snapshot(snapshot.model_dir.parent) == snapshot
    assert snapshot.source.requested == rf"{tmp_path}/a \xff/my-model"


def test_the_same_directory_twice_is_one_snapshot(directory: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with directory_source(directory) as source:
            local(tmp_path / "home").run(source)
    assert len(list((tmp_path / "home/quarantine").iterdir())) == 1


def test_into_makes_exactly_that_directory(directory: Path, tmp_path: Path) -> None:
    with directory_source(directory) as source:
        snapshot = local(tmp_path / "home", into=tmp_path / "out").run(source)
    assert snapshot.model_dir == tmp_path / "out/model"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "model", "provenance", "snapshot.json",
    ]  # fmt: skip


def test_into_a_directory_that_holds_something_is_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("")
    with directory_source(directory) as source, pytest.raises(UnreadableInput, match="not empty"):
        local(tmp_path / "home", into=tmp_path / "out").run(source)


def test_a_directory_without_a_usable_name_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "my model", MODEL)
    with pytest.raises(FormatError, match="not a name") as refused, directory_source(root):
        pass
    assert "rename" in refused.value.hint


def test_a_directory_with_a_link_is_refused(directory: Path) -> None:
    (directory / "evil.json").symlink_to("/etc/passwd")
    with pytest.raises(FormatError, match="link"), directory_source(directory):
        pass


@pytest.mark.parametrize("stage", [Stage.LISTING, Stage.CONTENT])
@pytest.mark.parametrize(
    ("disposition", "error"),
    [(Disposition.REFUSE, GateRefused), (Disposition.APPROVE, GateWantsApproval)],
)
def test_a_directory_goes_through_the_gate(
    directory: Path, tmp_path: Path, stage: Stage, disposition: Disposition, error: type[Exception]
) -> None:
    gate = StubGate(stage, disposition)
    with directory_source(directory) as source, pytest.raises(error):
        local(tmp_path / "home", gate).run(source)
    assert not list((tmp_path / "home/quarantine").iterdir())


def test_a_directory_that_changes_meanwhile_is_refused(directory: Path, tmp_path: Path) -> None:
    with directory_source(directory) as source:
        (directory / NAME).write_bytes(b"short")
        with pytest.raises(UnreadableInput, match="changed"):
            local(tmp_path / "home").run(source)


def test_a_directory_behind_the_users_own_link(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory)
    with directory_source(tmp_path / "link") as source:
        snapshot = local(tmp_path / "home").run(source)
    assert snapshot.name == "my-model"
    assert {f.path for f in snapshot.manifest} == set(MODEL)


def test_an_unreadable_directory(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput), directory_source(tmp_path / "nothing"):
        pass


# --- an HF cache ---------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> tuple[World, Path]:
    """A cache as the real client makes it."""
    world = World(tmp_path)
    with world.hub.running() as url:
        env = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_CACHE": str(tmp_path / "cache")}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        code = f"import huggingface_hub; huggingface_hub.snapshot_download({REPO!r})"
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    path = tmp_path / "cache/models--org--name/snapshots" / world.commit
    assert is_cache_snapshot(path)
    return world, path


def test_a_cache_is_copied_through_its_links(cache: tuple[World, Path], tmp_path: Path) -> None:
    world, path = cache
    assert (path / NAME).is_symlink()
    with cache_source(path) as source:
        snapshot = local(tmp_path / "home").run(source)
    assert (snapshot.source.kind, snapshot.proof) == ("hf-cache", Proof.NOT_APPLICABLE)
    assert (snapshot.source.repo, snapshot.source.commit) == (REPO, world.commit)
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    assert not (snapshot.model_dir / NAME).is_symlink()


def test_a_cache_is_proved_where_a_server_can_be_asked(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    world, path = cache
    with (
        world.hub.running(world.respond) as url,
        hub_session(Endpoint.parse(url)) as session,
        cache_source(path) as source,
    ):
        snapshot = local(tmp_path / "home", session=session).run(source)
    assert snapshot.proof is Proof.VERIFIED
    assert (snapshot.model_dir.parent / "provenance/git/commit").is_file()
    assert not world.asked("resolve"), "no file was downloaded"
    assert open_snapshot(snapshot.model_dir.parent) == snapshot


def test_a_cache_with_an_altered_file_is_not_proved(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    """A regular file in the place of a link has no digest in its name: only git notices."""
    world, path = cache
    (path / "config.json").unlink()
    (path / "config.json").write_bytes(b'{"evil": 1}')
    with (
        world.hub.running() as url,
        hub_session(Endpoint.parse(url)) as session,
        cache_source(path) as source,
        pytest.raises(VerificationRefused, match=r"config\.json"),
    ):
        local(tmp_path / "home", session=session).run(source)


def test_a_damaged_blob_is_noticed_without_a_server(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    _, path = cache
    blob = (path / NAME).resolve()
    blob.chmod(0o600)
    blob.write_bytes(WEIGHTS[:-1] + b"\0")
    with cache_source(path) as source, pytest.raises(UnreadableInput, match="damaged"):
        local(tmp_path / "home").run(source)


def test_a_cache_that_links_out_is_refused(cache: tuple[World, Path], tmp_path: Path) -> None:
    _, path = cache
    (tmp_path / "secret").write_text("secret")
    (path / "x.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="outside"), cache_source(path):
        pass


def test_a_cache_that_links_to_a_folder_is_refused(cache: tuple[World, Path]) -> None:
    _, path = cache
    (path / "x").symlink_to("/etc")
    with pytest.raises(FormatError, match="link to a folder"), cache_source(path):
        pass


def test_a_cache_that_links_into_another_repositorys_blobs_is_refused(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    _, path = cache
    other = tmp_path / "cache/models--other--name/blobs"
    other.mkdir(parents=True)
    (other / "ab").write_bytes(b"other")
    (path / "x.txt").symlink_to("../../../models--other--name/blobs/ab")
    with pytest.raises(FormatError, match="outside"), cache_source(path):
        pass


@pytest.mark.parametrize("linked", ["blobs", "snapshot", "snapshots", "shared"])
def test_a_cache_whose_folders_are_links_is_refused(
    cache: tuple[World, Path], tmp_path: Path, linked: str
) -> None:
    """Else `blobs -> /etc` would make all of /etc the inside of the cache."""
    _, path = cache
    folder = {
        "blobs": path.parent.parent / "blobs", "snapshot": path, "snapshots": path.parent,
        "shared": path.parent.parent.parent / "blobs",
    }[linked]  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    if folder.exists():
        folder.rename(elsewhere)
    else:
        elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    with pytest.raises(FormatError, match="a link to a folder"), cache_source(path):
        pass


def test_a_cache_behind_a_link_of_the_users_own_is_fetched(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    """`~/.cache/huggingface` on another disk."""
    world, path = cache
    (tmp_path / "cache").rename(tmp_path / "disk")
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    with cache_source(path) as source:
        snapshot = local(tmp_path / "home").run(source)
    assert snapshot.source.commit == world.commit


def test_the_shared_blobs_of_a_cache_are_inside_it(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    _, path = cache
    blob = (path / NAME).resolve()
    shared = tmp_path / "cache/blobs" / blob.name
    shared.parent.mkdir(exist_ok=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    with cache_source(path) as source:
        snapshot = local(tmp_path / "home").run(source)
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS


def test_a_link_by_way_of_another_name_does_not_hide_a_damaged_blob(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    """What counts is where it ends: that file is named for its digest."""
    _, path = cache
    blob = (path / NAME).resolve()
    (blob.parent / "alias").symlink_to(blob.name)
    (path / NAME).unlink()
    (path / NAME).symlink_to("../../blobs/alias")
    blob.chmod(0o600)
    blob.write_bytes(WEIGHTS[:-1] + b"\0")
    with cache_source(path) as source, pytest.raises(UnreadableInput, match="damaged"):
        local(tmp_path / "home").run(source)


@pytest.mark.parametrize("target", ["x", "../../blobs/loop", ".", "..", "../../blobs", "/dev/null"])
def test_loops_folders_and_devices_in_a_cache_are_refused(
    cache: tuple[World, Path], target: str
) -> None:
    _, path = cache
    (path.parent.parent / "blobs/loop").symlink_to("loop")
    (path / "x").symlink_to(target)
    with pytest.raises((FormatError, UnreadableInput)), cache_source(path):
        pass


def test_a_pipe_in_a_cache_is_refused(cache: tuple[World, Path]) -> None:
    _, path = cache
    os.mkfifo(path / "x")
    with pytest.raises(FormatError, match="not a regular file"), cache_source(path):
        pass


def test_a_blob_that_became_a_link_meanwhile_is_not_followed(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    _, path = cache
    (tmp_path / "secret").write_bytes(WEIGHTS)
    blob = (path / NAME).resolve()
    with cache_source(path) as source:
        blob.unlink()
        blob.symlink_to(tmp_path / "secret")
        with pytest.raises(UnreadableInput, match="cannot be read"):
            local(tmp_path / "home").run(source)
    assert not list((tmp_path / "home/quarantine").glob("name@*"))


def test_a_broken_link_is_said(cache: tuple[World, Path]) -> None:
    _, path = cache
    (path / "x").symlink_to("../../blobs/nothing")
    with pytest.raises(UnreadableInput, match="nowhere"), cache_source(path):
        pass


def test_a_part_of_a_cache_is_proved_for_what_is_there(
    cache: tuple[World, Path], tmp_path: Path
) -> None:
    world, path = cache
    (path / "docs/notes.md").unlink()
    with (
        world.hub.running() as url,
        hub_session(Endpoint.parse(url)) as session,
        cache_source(path) as source,
    ):
        snapshot = local(tmp_path / "home", session=session).run(source)
    document = json.loads((snapshot.model_dir.parent / "snapshot.json").read_bytes())
    assert {row["path"] for row in document["left_out"]} == {".gitattributes", "docs/notes.md"}


# --- Xet -----------------------------------------------------------------------------------------

XET = "ab" * 32
CAS = "https://cas.xethub.hf.co"


class Storage:
    """Stands in for hf_xet: ordered streams from any byte on, and what goes wrong with them."""

    def __init__(self, content: bytes, fail_after: int | None = None) -> None:
        self.content = content
        self.fail_after = fail_after
        self.opened: list[tuple[XetAccess, str, int, int]] = []

    @contextlib.contextmanager
    def open(
        self, access: XetAccess, name: str, size: int, start: int
    ) -> Iterator[Iterator[bytes]]:
        self.opened.append((access, name, size, start))

        def pieces() -> Iterator[bytes]:
            for at in range(start, len(self.content), 100_000):
                if self.fail_after is not None and at - start >= self.fail_after:
                    raise RuntimeError("storage went away")
                yield self.content[at : at + 100_000]

        yield pieces()


@pytest.fixture
def xet_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, Storage]:
    world = World(tmp_path)
    storage = Storage(WEIGHTS)

    def offer(body: bytes) -> bytes:
        rows = json.loads(body)
        for row in rows:
            if "lfs" in row:
                row["xetHash"] = XET
        return json.dumps(rows).encode()

    token = {"casUrl": CAS, "accessToken": "storage-token", "exp": 4_000_000_000}
    answer = Reply(200, {"Content-Type": "application/json"}, json.dumps(token).encode())
    world.lies = [on("/tree/", edited(offer)), on("xet-read-token", lambda _q, _r: answer)]
    monkeypatch.setattr(
        "pratique.fetch.bring.hub_xet", lambda s, r, c, _: HubXet(s, r, c, storage.open)
    )
    return world, storage


RULES = policy(redirect_hosts=("*.xethub.hf.co",))


def whole_requests(world: World) -> list[str]:
    ranges = [r.headers.get("range", "") for r in world.asked(NAME)]
    return [r for r in ranges if not r.startswith("bytes=0-")]


def test_xet_is_used_where_it_is_offered(xet_world: tuple[World, Storage]) -> None:
    world, storage = xet_world
    snapshot = world.fetch(rules=RULES)
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    assert storage.opened == [
        (XetAccess(CAS, "storage-token", 4_000_000_000), XET, len(WEIGHTS), 0)
    ]
    assert not whole_requests(world)


def test_a_xet_stream_that_breaks_goes_on_over_http(xet_world: tuple[World, Storage]) -> None:
    world, storage = xet_world
    storage.fail_after = 200_000
    snapshot = world.fetch(rules=RULES)
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    assert whole_requests(world) == [f"bytes=200000-{len(WEIGHTS) - 1}"]


def test_wrong_bytes_from_xet_are_fetched_again_over_http(
    xet_world: tuple[World, Storage],
) -> None:
    world, storage = xet_world
    storage.content = bytes(len(WEIGHTS))
    snapshot = world.fetch(rules=RULES)
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    assert whole_requests(world) == [""]


def test_too_many_bytes_from_xet_are_refused(xet_world: tuple[World, Storage]) -> None:
    world, storage = xet_world
    storage.content = WEIGHTS + b"x"
    with pytest.raises(FetchError, match="longer"):
        world.fetch(rules=RULES)


@pytest.mark.parametrize(
    "change",
    [
        {"casUrl": "https://evil.example"}, {"casUrl": "http://cas.xethub.hf.co"}, {"casUrl": 1},
        {"accessToken": None}, {"exp": "soon"}, {"exp": 1},
    ],
)  # fmt: skip
def test_odd_storage_is_not_used(
    xet_world: tuple[World, Storage], change: dict[str, object], tmp_path: Path
) -> None:
    world, storage = xet_world
    odd = edited(lambda body: json.dumps({**json.loads(body), **change}).encode())
    world.lies.append(on("xet-read-token", odd))
    rules = RULES if change != {"casUrl": "http://cas.xethub.hf.co"} else policy()
    snapshot = world.fetch(rules=rules)
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    assert storage.opened == []


# --- foreign references --------------------------------------------------------------------------

ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "base/model"}).encode()


def test_an_adapters_base_is_a_pin_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, {**MODEL, "adapter_config.json": ADAPTER})
    base = world.hub.add("base/model", write_tree(tmp_path / "base", MODEL))
    snapshot = world.fetch()
    (name,) = foreign_snapshots(snapshot)
    assert name == f"base--model@{base}"
    beside = open_snapshot(world.home / "quarantine" / name)
    row = json.loads((snapshot.model_dir.parent / "provenance/foreign.json").read_bytes())["pins"]
    assert row[0]["commit"] == base
    assert row[0]["manifest"] == beside.manifest.digest
    assert [s for s, c, _ in world.gate.seen if c.repo == "base/model"] == list(Stage)


def test_a_base_that_the_gate_refuses_refuses_the_adapter(tmp_path: Path) -> None:
    world = World(tmp_path, {**MODEL, "adapter_config.json": ADAPTER})
    world.hub.add("base/model", write_tree(tmp_path / "base", MODEL))

    class Gate(StubGate):
        def judge(self, candidate, stage):
            self.at = Stage.LISTING if candidate.repo == "base/model" else None
            return super().judge(candidate, stage)

    world.gate = Gate()
    with pytest.raises(GateRefused, match="base/model"):
        world.fetch()
    assert world.finals == []


def test_a_base_that_refers_back_ends(tmp_path: Path) -> None:
    world = World(tmp_path, {**MODEL, "adapter_config.json": ADAPTER})
    back = ADAPTER.replace(b"base/model", REPO.encode())
    world.hub.add(
        "base/model", write_tree(tmp_path / "base", {**MODEL, "adapter_config.json": back})
    )
    with pytest.raises(FetchError, match="back to itself"):
        world.fetch()


def test_a_base_that_is_a_path_is_no_repository(tmp_path: Path) -> None:
    """The gate refuses it; here it must not become a request."""
    evil = json.dumps({"base_model_name_or_path": "../../etc"}).encode()
    world = World(tmp_path, {**MODEL, "adapter_config.json": evil})
    assert foreign_snapshots(world.fetch()) == ()


def test_the_digest_of_a_snapshot_is_what_sha256sum_says(tmp_path: Path) -> None:
    world = World(tmp_path)
    snapshot = world.fetch()
    for entry in snapshot.manifest:
        body = (snapshot.model_dir / entry.path).read_bytes()
        assert hashlib.sha256(body).hexdigest() == entry.sha256
    assert replace(snapshot) == open_snapshot(snapshot.model_dir.parent)
