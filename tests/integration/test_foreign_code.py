"""A model whose code lies in another repository: fetched by pin, sealed, approved, admitted, served."""

import json
from pathlib import Path

import httpx
import pytest

from pratique.attest.install import installed_trust
from pratique.errors import ApprovalNeeded
from pratique.flows.approve import Terms, sign_and_attach, vet_for_approval
from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
from pratique.admit.verify import verify_bundle
from pratique.serve.session import Wishes, opened
from pratique.vet import LocalGate
from tests.support import foreign
from tests.support.bundles import NOW, World, make_world, write_tiny
from tests.support.foreign import CODE, OTHER, Upstream, pin
from tests.support.serving import serving_session


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory) -> Upstream:
    return Upstream(tmp_path_factory.mktemp("upstream"))


def bundled(world: World, snapshot: Path, policy, name: str) -> Path:
    output = world.root / f"{name}.bundle"
    gate = LocalGate(policy)
    request = SealRequest(snapshot, policy, output)
    vet_and_seal(request, gate, lambda: world.vetter, on_verdict=lambda _: None)
    terms = Terms(policy=policy, reason="looked at it", now=NOW)
    approval = vet_for_approval(output, terms, gate, on_verdict=lambda _: None)
    sign_and_attach(output, approval, world.approver, world.home)
    return output


def answers(world: World, model, policy) -> list[object]:
    wishes = Wishes(context=64, rows=2)
    with (
        opened(model, world.home, policy=policy, wishes=wishes) as session,
        serving_session(session) as url,
    ):
        body = {"model": model.name, "prompt": "a b c", "max_tokens": 8, "temperature": 0,
                "logprobs": 2}  # fmt: skip
        response = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
        assert response.status_code == 200, response.text
        choice = response.json()["choices"][0]
        return [choice["text"], choice["logprobs"]]


def test_the_whole_way(world: World, upstream: Upstream) -> None:
    policy = foreign.policy(pin(upstream.commit), *foreign.files())
    snapshot = upstream.fetch(policy)
    label = f"other--repo@{upstream.commit}"
    assert {str(f.path) for f in snapshot.foreign[0].manifest} == set(CODE)
    rows = json.loads((snapshot.model_dir.parent / "provenance/foreign.json").read_bytes())["pins"]
    assert [(r["kind"], r["repo"], r["commit"], r["snapshot"]) for r in rows] == [
        ("code", OTHER, upstream.commit, f"provenance/foreign/{label}")
    ]

    bundle = bundled(world, snapshot.model_dir.parent, policy, "elsewhere")
    payload = bundle / "payload"
    assert {p.name for p in (payload / "foreign" / label).iterdir()} == set(CODE)
    assert (payload / "provenance/foreign" / label / "git/commit").is_file()
    document = json.loads((payload / "bundle.json").read_bytes())
    assert document["foreign"] == [{"commit": upstream.commit, "repo": OTHER}]
    request = SealRequest(snapshot.model_dir.parent, policy)
    check_reproducible(request, bundle, LocalGate(policy), on_verdict=lambda _: None)
    verify_bundle(bundle, trust=installed_trust(world.home), policy=policy, now=NOW)

    model = world.admit(bundle, policy=policy, gate=LocalGate(policy))
    said = answers(world, model, policy)

    # The same model with the code in its own repository says the same, to the last digit.
    directory = foreign.write_model(world.root / "models/inplace", "")
    write_tiny(directory, dict(CODE))
    local = bundled(world, directory, foreign.policy(*foreign.files()), "inplace")
    beside = foreign.policy(*foreign.files())
    there = world.admit(local, policy=beside, gate=LocalGate(beside))
    assert said == answers(world, there, beside)

    for missing in range(len(policy.allow)):
        fewer = policy.model_copy(
            update={"allow": tuple(a for i, a in enumerate(policy.allow) if i != missing)}
        )
        with (
            pytest.raises(ApprovalNeeded, match=r"other/repo"),
            opened(model, world.home, policy=fewer, wishes=Wishes()),
        ):
            pass
        with pytest.raises(ApprovalNeeded, match=r"other/repo"):
            world.admit(bundle, policy=fewer, gate=LocalGate(fewer))
