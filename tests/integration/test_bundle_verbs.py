"""report, diff, show, gc and names through the command line, on a small model."""

import json
from pathlib import Path

import pytest

from pratique.cli.main import run
from tests.support.bundles import World, make_world
from tests.support.models import write_model


class Shell:
    """Runs `pratique` in this process against one home."""

    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._capfd = capfd

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._capfd.readouterr()
        code = run(["--home", str(self._home), *map(str, arguments)])
        printed = self._capfd.readouterr()
        return code, printed.out.strip(), printed.err

    def ok(self, *arguments: object) -> str:
        """Run what has to succeed; return its stdout."""
        code, out, err = self(*arguments)
        assert code == 0, err
        return out


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def shell(world: World, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(world.home, capfd)


def sealed(shell: Shell, world: World, seed: int, when: str) -> Path:
    """A model of the name `tiny`, sealed and approved through the real gate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", when)
        model = write_model(world.root / f"v{seed}/tiny", seed=seed)
        bundle = Path(
            shell.ok("seal", model, "--key", world.root / "vera.key", "-o", world.root / f"v{seed}")
        )
    shell.ok("approve", bundle, "--key", world.root / "anton.key")
    return bundle


def test_two_versions_through_the_verbs(shell: Shell, world: World, tmp_path: Path) -> None:
    one = sealed(shell, world, 1, "1700000000")
    two = sealed(shell, world, 2, "1710000000")

    lines = shell.ok("diff", one, two).splitlines()
    assert lines == ["~ model.safetensors"]
    assert json.loads(shell.ok("diff", one, one, "--json"))["changed"] == []
    added = json.loads(shell.ok("diff", one, world.root / "v2/tiny", "--json"))
    assert added["changed"] == ["model.safetensors"]

    page = tmp_path / "page.html"
    assert shell.ok("report", one, "-o", page) == str(page)
    label = f"{one.name.removesuffix('.bundle')}.html"
    for _ in range(2):  # the folder is made, and is there the second time
        inside = shell.ok("report", one, "-o", f"{tmp_path}/pages/")
        assert inside == str(tmp_path / "pages" / label)
        assert Path(inside).read_bytes() == page.read_bytes()
    text = page.read_text(encoding="utf-8")
    assert "anton" in text
    assert "<script" not in text

    assert shell.ok("admit", one) == "tiny"
    assert shell.ok("admit", two) == "tiny"
    assert shell.ok("admit", one, "--as", "tiny-before") == "tiny-before"
    listed = json.loads(shell.ok("list", "--json"))["admitted"]
    assert sorted(name for row in listed for name in row["names"]) == ["tiny", "tiny-before"]
    assert "tiny-before" in shell.ok("list")

    ids = {row["bundle_id"] for row in listed}
    shown = json.loads(shell.ok("show", "tiny", "--json"))
    assert shown["bundle_id"] in ids
    assert "model/config.json" in shell.ok("show", "tiny-before", "--files")
    code, _, err = shell("show", "tiny@")
    assert code == 5, err

    assert "removed" in shell.ok("gc", "--forget", "tiny-before")
    assert json.loads(shell.ok("gc", "--json"))["objects"] == 0
    shell.ok("fsck")
    assert len(json.loads(shell.ok("list", "--json"))["admitted"]) == 1

    weights = next((world.home / "store/trees").glob("*/model/model.safetensors"))
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    code, out, err = shell("fsck")
    assert code == 11
    assert "model/model.safetensors" in out
    assert "problems" in err


def test_damage_in_the_bundle_is_not_described_away(shell: Shell, world: World) -> None:
    bundle = sealed(shell, world, 1, "1700000000")
    document = bundle / "payload/bundle.json"
    document.write_bytes(document.read_bytes().replace(b'"PASSED"', b'"FAILED"'))
    for verb in ("show", "report"):
        code, _, err = shell(verb, bundle)
        assert code == 11
        assert "bundle.json" in err


def test_nothing_admitted_yet(shell: Shell) -> None:
    assert json.loads(shell.ok("list", "--json"))["admitted"] == []
    code, _, err = shell("gc")
    assert code == 5
    assert "no store" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("revoke", "--reason", "x"), 2),
        (("revoke", "tiny", "--key", "ab" * 32, "--reason", "x"), 2),
        (("revoke", "unheard-of", "--reason", "x"), 5),
        (("revoke", "--key", "short", "--reason", "x"), 5),
        (("revoke", "--identity", "mal\x1bory", "--reason", "x"), 2),
        (("approve", "nowhere", "--expires", "never"), 2),
        (("diff", "nowhere", "nothing"), 5),
        (("trust", "install", "nowhere", "--fingerprint", "x"), 5),
    ],
)
def test_usage(shell: Shell, arguments: tuple[str, ...], code: int) -> None:
    found, _, err = shell(*arguments)
    assert found == code, err
    assert "\x1b" not in err


def test_revoking_what_never_came(shell: Shell) -> None:
    assert shell.ok("revoke", "ab" * 32, "--reason", "leaked") == "ab" * 32
    assert shell.ok("revoke", "--identity", "mallory@example.org", "--reason", "left")


def test_a_folder_for_bundles_is_made_and_a_bundle_is_never_one(
    shell: Shell, world: World, tmp_path: Path
) -> None:
    model = write_model(world.root / "m/tiny", seed=1)
    key = world.root / "vera.key"
    made = Path(shell.ok("seal", model, "--key", key, "-o", f"{tmp_path}/new/folder/"))
    assert made.parent == tmp_path / "new/folder"
    assert made.suffix == ".bundle"
    named = tmp_path / "named"
    assert shell.ok("seal", model, "--key", key, "-o", named) == str(named)
    before = sorted(named.rglob("*"))
    for spelling in (str(named), f"{named}/"):
        code, _, err = shell("seal", model, "--key", key, "-o", spelling)
        assert code == 6, err
        assert "not overwritten" in err
    assert sorted(named.rglob("*")) == before
    (tmp_path / "file").write_text("")
    code, _, err = shell("seal", model, "--key", key, "-o", f"{tmp_path}/file/")
    assert code == 7, err


def test_nothing_is_put_into_a_bundle(
    shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be refused from then on, for what does not belong into it."""
    bundle = sealed(shell, world, 1, "1700000000")
    model, key = world.root / "v1/tiny", world.root / "vera.key"
    before = sorted(bundle.rglob("*"))
    for place in ("", "/", "/page.html", "/payload/", "/payload/evidence", "/pages/"):
        code, _, err = shell("report", bundle, "-o", f"{bundle}{place}")
        assert code == 2, (place, err)
        assert "nothing is put into a bundle" in err
    for place in ("/payload/", "/signatures", "/more/", "/other.bundle", "/payload/x.bundle/"):
        code, _, err = shell("seal", model, "--key", key, "-o", f"{bundle}{place}")
        assert code == 2, (place, err)
        assert "nothing is put into a bundle" in err
    monkeypatch.chdir(bundle / "payload")
    assert shell("report", bundle)[0] == 2
    assert shell("seal", model, "--key", key)[0] == 2
    assert sorted(bundle.rglob("*")) == before
    shell.ok("verify", bundle)
    monkeypatch.chdir(tmp_path)
    assert shell.ok("report", bundle) == f"{bundle.name.removesuffix('.bundle')}.html"


def test_a_bundles_own_path_may_end_in_a_slash(shell: Shell, world: World, tmp_path: Path) -> None:
    model, key = write_model(world.root / "m/tiny", seed=1), world.root / "vera.key"
    made = shell.ok("seal", model, "--key", key, "-o", f"{tmp_path}/new.bundle/")
    assert made == f"{tmp_path}/new.bundle"
    assert (tmp_path / "new.bundle/payload/bundle.json").is_file()


def test_a_check_says_so_in_json(shell: Shell, world: World) -> None:
    bundle = sealed(shell, world, 1, "1700000000")
    out = shell.ok("seal", world.root / "v1/tiny", "--check", bundle, "--json")
    assert json.loads(out) == {
        "schema": "pratique.seal/v1",
        "bundle": str(bundle),
        "label": bundle.name.removesuffix(".bundle"),
        "same": True,
    }
    assert shell.ok("seal", world.root / "v1/tiny", "--check", bundle) == ""


def test_piped_rows_are_whole(shell: Shell, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    bundle = sealed(shell, world, 1, "1700000000")
    shell.ok("admit", bundle)
    shown = json.loads(shell.ok("show", "tiny", "--json"))
    assert shown["bundle_id"] in shell.ok("show", "tiny")
    shell.ok("revoke", "tiny", "--reason", "a reason that is much too long for one column " * 3)
    assert len(shell.ok("list").splitlines()) == 2
