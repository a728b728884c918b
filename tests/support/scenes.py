"""Every verb that changes and records, each to be broken off anywhere and looked at afterwards."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pratique.admit.load import open_admitted
from pratique.admit.shape import look_at
from pratique.attest.home import load_state, trust_dir
from pratique.attest.install import install, installed_trust, revoke_now
from pratique.attest.keys import load_signer
from pratique.attest.repository import Repository
from pratique.attest.trustfile import Revocation
from pratique.core.bundle import bundle_id_of
from pratique.core.manifest import parse_sha256sums
from pratique.flows import recording
from pratique.ledger.folder import Folder
from pratique.ledger.record import Chain
from pratique.ledger.verify import records
from pratique.store import upkeep
from pratique.store.cas import open_store
from pratique.store.quarantine import hash_tree
from pratique.store.records import admissions, aliases
from tests.support.bundles import NOW, POLICY, World, make_world

_KEPT = ("home", "bundles")
FILES = {"config.json": b"{}\n"}
LATER = NOW + timedelta(seconds=5)


def recorded(home: Path) -> Counter[str]:
    """How many events of each kind are on the ledger."""
    folder = Folder(home / "ledger")
    key = folder.key()
    return Counter(r.kind for r in records(folder, Chain(key.name, key.key_id.hex())))


@dataclass
class Verb:
    """Something that changes and records. `done` counts what it did, by kind of event."""

    prepare: Callable[[World], Any]
    work: Callable[[World, Any], object]
    done: Callable[[World, Any], Counter[str]]


def _approved(world: World) -> Path:
    return world.bundle("tiny", FILES)


def _admit(world: World, bundle: Path) -> None:
    with recording.recording(world.home) as write:
        world.admit(bundle, around=write.admitting)


def _admitted(world: World, bundle: Path) -> Counter[str]:
    del bundle
    if not (world.home / "store" / "format").exists():
        return Counter()
    store = open_store(world.home)
    return Counter(
        admission=sum(1 for _ in admissions(store)),
        alias_moved=sum(len(a.moves) for a in aliases(store)),
    )


def _second(world: World) -> Path:
    _admit(world, world.bundle("tiny", FILES))
    return world.bundle("tiny", {"config.json": b'{"v": 2}\n'})


def _seal(world: World, _: None) -> None:
    with recording.recording(world.home) as write:
        world.sealed("tiny", FILES, around=write.sealing)


def _sealed(world: World, _: None) -> Counter[str]:
    return Counter(sealed=int((world.root / "bundles/tiny.bundle").exists()))


def _approve(world: World, bundle: Path) -> None:
    with recording.recording(world.home) as write:
        world.approve(bundle, around=lambda approval: write.approving(approval, "k"))


def _approvals(world: World, bundle: Path) -> Counter[str]:
    del world
    return Counter(approval=len(list((bundle / "signatures").glob("approver*.sig"))))


def _revoke(world: World, _: None) -> None:
    entry = Revocation(kind="key", id="ab" * 32, at=NOW, reason="lost")
    with recording.recording(world.home) as write:
        revoke_now(world.home, entry, around=write.revoking("key", entry.id, "lost"))


def _revoked(world: World, _: None) -> Counter[str]:
    state = load_state(trust_dir(world.home))
    assert state is not None
    return Counter(revocation=len(state.emergency))


def _forget(world: World, _: None) -> None:
    store = open_store(world.home)
    with recording.recording(world.home) as write:
        for record in list(admissions(store)):
            upkeep.forget(store, record, around=write.forgetting)


def _to_forget(world: World) -> None:
    _admit(world, world.bundle("tiny", FILES))


def _forgotten(world: World, _: None) -> Counter[str]:
    left = _admitted(world, world.root)
    return Counter(
        admission=1,
        alias_moved=1 + (not left["alias_moved"]),
        revocation=int(not left["admission"]),
    )


def _newer_set(world: World) -> None:
    admin = load_signer(world.root / "admin.key")
    Repository(world.trust_set).change(lambda files: files, [admin], NOW)


def _install(world: World, _: None) -> None:
    with recording.recording(world.home) as write:
        install(
            world.home,
            world.trust_set,
            now=LATER,
            confirm=lambda seen: seen,
            around=write.installing(1),
        )


def _installed(world: World, _: None) -> Counter[str]:
    state = load_state(trust_dir(world.home))
    assert state is not None
    return Counter(trust_changed=int(state.current != "set-1"))


VERBS = {
    "seal": Verb(lambda _: None, _seal, _sealed),
    "approve": Verb(lambda world: world.sealed("tiny", FILES), _approve, _approvals),
    "admit": Verb(_approved, _admit, _admitted),
    "another version": Verb(_second, _admit, _admitted),
    "revoke": Verb(lambda _: None, _revoke, _revoked),
    "gc --forget": Verb(_to_forget, _forget, _forgotten),
    "trust install": Verb(_newer_set, _install, _installed),
}


@dataclass
class Scene:
    """A world made once, and put back as it was before each attempt."""

    world: World
    verb: Verb
    prepared: Any

    def restore(self) -> None:
        for name in _KEPT:
            saved, place = self.world.root / f"saved-{name}", self.world.root / name
            _remove(place)
            if saved.exists():
                shutil.copytree(saved, place, symlinks=True)

    def work(self) -> None:
        self.verb.work(self.world, self.prepared)

    def next_command(self) -> None:
        with recording.recording(self.world.home):
            pass

    def is_sound(self) -> None:
        """Everything is in the old state or in the new one; nothing half-done bears a final name."""
        home = self.world.home
        assert installed_trust(home).version in {1, 2}
        for bundle in (self.world.root / "bundles").glob("*.bundle"):
            look_at(bundle)
            sums = parse_sha256sums((bundle / "payload/SHA256SUMS").read_bytes())
            assert {f.path: f.sha256 for f in hash_tree(bundle / "payload")} == {
                **sums,
                "SHA256SUMS": bundle_id_of((bundle / "payload/SHA256SUMS").read_bytes()),
            }
            assert (bundle / "signatures/vetter.sig").stat().st_size > 0
        if (home / "store/format").exists():
            store = open_store(home)
            upkeep.collect(store)
            assert upkeep.check_store(store) == []
            for record in admissions(store):
                open_admitted(home, record.bundle_id, now=LATER, policy=POLICY)

    def agrees(self) -> None:
        """What the ledger says happened is what happened."""
        found = recorded(self.world.home)
        done = self.verb.done(self.world, self.prepared)
        assert {k: found[k] for k in done} == dict(done)


def _remove(place: Path) -> None:
    for folder, _, _ in os.walk(place):
        Path(folder).chmod(0o700)
    shutil.rmtree(place, ignore_errors=True)


@contextmanager
def scene_of(verb: str) -> Iterator[Scene]:
    """A scene for one of `VERBS`, in memory where there is such a file system: flushes cost nothing."""
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        world, chosen = make_world(Path(folder) / "world"), VERBS[verb]
        prepared = chosen.prepare(world)
        for name in _KEPT:
            if (world.root / name).exists():
                shutil.copytree(world.root / name, world.root / f"saved-{name}", symlinks=True)
        try:
            yield Scene(world, chosen, prepared)
        finally:
            _remove(world.root)
