"""`pratique keys` and `pratique trust` as somebody types them."""

import json

import pytest

from pratique.cli.main import run
from pratique.store.quarantine import hash_tree


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """Run commands in an empty directory with a home of its own; return code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRATIQUE_HOME", str(tmp_path / "home"))

    def call(*arguments):
        code = run(list(arguments))
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def words(shell, directory):
    code, out, _ = shell("trust", "status", directory, "--json")
    assert code == 0
    return json.loads(out)["words"]


def test_one_person(shell, tmp_path):
    code, out, err = shell("keys", "new", "me")
    assert (code, out) == (0, "me.key\n")
    assert "not encrypted" in err
    code, out, err = shell("trust", "init", "--solo", "set", "--key", "me.key")
    assert (code, out) == (0, "set\n")
    assert "One person vets, signs and administers" in " ".join(err.split())
    code, out, err = shell("trust", "install", "set")
    assert code == 2
    assert "the first installation needs the root's fingerprint" in err
    assert words(shell, "set") in " ".join(err.split())
    code, out, _ = shell("trust", "install", "set", "--fingerprint", words(shell, "set"))
    assert (code, out) == (0, f"{tmp_path / 'home' / 'trust'}\n")
    code, out, _ = shell("trust", "status", "--json")
    status = json.loads(out)
    assert status["schema"] == "pratique.trust/v1"
    assert status["single_person"] is True
    assert status["age_days"] == 0
    code, out, _ = shell("trust", "status")
    assert "no second signature is needed" in out


def make_keys(shell, *names):
    for name in names:
        assert shell("keys", "new", name)[0] == 0


def test_a_team_signs_one_after_the_other(shell):
    make_keys(shell, "ann", "bea", "cy")
    code, _, err = shell(
        *("trust", "init", "--team", "set", "--enclave", "harbour", "--approvals", "2"),
        *("--vetter", "ann.pub", "--approver", "bea.pub", "--approver", "cy.pub"),
        *("--admin", "bea.pub", "--admin", "cy.pub", "--key", "bea.key"),
    )
    assert code == 0
    assert "a vetter and a different approver" in " ".join(err.split())
    assert "unsigned     root: 1 more of cy" in err
    assert shell("trust", "export", "set", "medium")[0] == 2
    assert shell("trust", "sign", "set", "--key", "ann.key")[0] == 6
    assert shell("trust", "sign", "set", "--key", "cy.key")[0] == 0
    assert shell("trust", "export", "set", "medium")[:2] == (0, "medium\n")
    assert shell("trust", "install", "medium", "--fingerprint", words(shell, "medium"))[0] == 0
    code, out, _ = shell("trust", "status")
    assert "approver     2 of: bea, cy" in out


@pytest.fixture
def team(shell):
    make_keys(shell, "ann", "bea", "cy", "new")
    code, _, _ = shell(
        *("trust", "init", "--team", "set", "--vetter", "ann.pub", "--approver", "bea.pub"),
        *("--admin", "bea.pub", "--revoker", "cy.pub", "--key", "bea.key", "--key", "cy.key"),
    )
    assert code == 0
    assert shell("trust", "install", "set", "--fingerprint", words(shell, "set"))[0] == 0
    return shell


def status(shell):
    code, out, _ = shell("trust", "status", "--json")
    assert code == 0
    return json.loads(out)


def test_add_remove_and_thresholds(team):
    key = ("--key", "bea.key")
    assert (
        team("trust", "add", "set", "--approver", "Cy=cy.pub", "--threshold", "approver=2", *key)[0]
        == 0
    )
    assert team("trust", "add", "set", "--email", "vetter:dan=dan@x.test", *key)[0] == 0
    assert (
        team("trust", "add", "set", "--sigstore", "vetter:eve=eve@x.test,https://idp.test", *key)[0]
        == 0
    )
    assert team("trust", "install", "set")[0] == 0
    roles = status(team)["roles"]
    assert roles["approver"] == {"threshold": 2, "holders": ["bea", "Cy"]}
    assert roles["vetter"]["holders"] == ["ann", "dan", "eve"]
    assert team("trust", "remove", "set", "--person", "Cy", *key)[0] == 2
    assert team("trust", "add", "set", "--threshold", "approver=1", *key)[0] == 0
    assert team("trust", "remove", "set", "--person", "Cy", *key)[0] == 0
    assert team("trust", "remove", "set", "--person", "dan", "--role", "vetter", *key)[0] == 0
    assert team("trust", "install", "set")[0] == 0
    assert status(team)["roles"]["vetter"]["holders"] == ["ann", "eve"]


def test_files(team, tmp_path):
    (tmp_path / "p.toml").write_text("x = 1\n")
    key = ("--key", "bea.key")
    assert team("trust", "add", "set", "--file", "policies/strict.toml=p.toml", *key)[0] == 0
    assert team("trust", "install", "set")[0] == 0
    assert status(team)["policies"] == ["strict.toml"]
    assert team("trust", "remove", "set", "--file", "policies/strict.toml", *key)[0] == 0
    assert team("trust", "remove", "set", "--file", "policies/strict.toml", *key)[0] == 2
    assert team("trust", "remove", "set", "--file", "trust.toml", *key)[0] == 2
    assert team("trust", "add", "set", "--file", "x", *key)[0] == 2
    assert team("trust", "add", "set", "--file", "policies/a.toml=absent", *key)[0] == 5
    assert team("trust", "add", "set", *key)[0] == 2
    assert team("trust", "remove", "set", *key)[0] == 2


def test_revoke_and_lift(team):
    key = ("--key", "bea.key")
    code, out, _ = team(
        "trust",
        "revoke",
        "set",
        "identity",
        "ann",
        "--reason",
        "left us",
        "--since",
        "2026-01-01",
        *key,
    )
    assert (code, out) == (0, "set\n")
    assert team("trust", "install", "set")[0] == 0
    (entry,) = status(team)["revocations"]
    assert (entry["id"], entry["at"]) == ("ann", "2026-01-01T00:00:00Z")
    code, out, _ = team("trust", "status")
    assert "revoked      identity ann since 2026-01-01: left us" in out
    assert (
        team("trust", "revoke", "set", "identity", "ann", "--reason", "back", "--lift", *key)[0]
        == 0
    )
    assert team("trust", "install", "set")[0] == 0
    assert status(team)["revocations"] == []
    assert team("trust", "revoke", "set", "key", "abc", "--reason", "x", *key)[0] == 2


def test_the_revokers_own_list(team):
    code, _, _ = team(
        *("trust", "revoke", "set", "bundle", "ab" * 32, "--reason", "bad weights"),
        *("--as-revoker", "--key", "cy.key"),
    )
    assert code == 0
    assert team("trust", "install", "set")[0] == 0
    assert status(team)["revocations"][0]["id"] == "ab" * 32
    assert (
        team(
            *("trust", "revoke", "set", "bundle", "ab" * 32, "--reason", "x"),
            *("--as-revoker", "--lift", "--key", "cy.key"),
        )[0]
        == 2
    )


CHANGES = {
    "add": ("add", "set", "--vetter", "mallory=new.pub"),
    "remove": ("remove", "set", "--person", "ann"),
    "revoke": ("revoke", "set", "identity", "ann", "--reason", "x"),
    "lift": ("revoke", "set", "identity", "ann", "--reason", "x", "--lift"),
    "as revoker": ("revoke", "set", "identity", "ann", "--reason", "x", "--as-revoker"),
    "rotate": ("rotate", "set", "--admin", "cy.pub"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "keys", [("ann.key",), ("bea.key", "ann.key"), ("bea.key", "bea.key")], ids=" ".join
)
def test_a_key_that_may_not_sign_changes_nothing(team, tmp_path, change, keys):
    """Else the change would lie there unsigned, for an administrator to sign it by mistake."""
    before = hash_tree(tmp_path / "set")
    code, _, err = team("trust", *CHANGES[change], *(w for k in keys for w in ("--key", k)))
    assert code == 6, err
    assert "nothing was changed" in err
    assert hash_tree(tmp_path / "set") == before
    assert team("trust", "install", "set")[0] == 0


def test_rotate_and_renew(team):
    code, _, _ = team(
        "trust", "rotate", "set", "--admin", "new.pub", "--key", "bea.key", "--key", "new.key"
    )
    assert code == 0
    assert team("trust", "install", "set")[0] == 0
    assert status(team)["root_version"] == 2
    assert team("trust", "sign", "set", "--renew", "--key", "bea.key")[0] == 6
    assert team("trust", "sign", "set", "--key", "new.key")[0] == 0
    assert team("trust", "install", "set")[0] == 0
    assert team("trust", "rotate", "set", "--key", "new.key")[0] == 2
    assert team("trust", "sign", "set")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "set"),
        ("init", "--solo", "--team", "set"),
        ("init", "--solo", "set"),
        ("init", "--team", "set", "--vetter", "ann.pub"),
        ("init", "--team", "set", "--vetter", "ann.pub", "--approver", "bea.pub"),
    ],
)
def test_misuse_exits_2(shell, arguments):
    make_keys(shell, "ann", "bea")
    code, out, err = shell("trust", *arguments)
    assert (code, out) == (2, "")
    assert "refused: " in err


@pytest.mark.parametrize(
    "arguments",
    [("status", "nowhere"), ("export", "nowhere", "to"), ("sign", "nowhere", "--key", "ann.key")],
)
def test_what_is_no_trust_set_exits_5(shell, arguments):
    make_keys(shell, "ann")
    code, out, err = shell("trust", *arguments)
    assert (code, out) == (5, "")
    assert "nowhere is not a trust set" in err


def test_no_trust_installed(shell):
    code, _, err = shell("trust", "status")
    assert code == 11
    assert "pratique trust install DIR" in " ".join(err.split())


def test_encrypted_keys(shell, tmp_path):
    (tmp_path / "pw").write_text("open sesame\n")
    code, _, err = shell("keys", "new", "me", "--password-file", "pw")
    assert code == 0
    assert "not encrypted" not in err
    assert (
        shell("trust", "init", "--solo", "set", "--key", "me.key", "--password-file", "pw")[0] == 0
    )
    (tmp_path / "pw").write_text("wrong\n")
    code, _, err = shell("trust", "sign", "set", "--key", "me.key", "--password-file", "pw")
    assert code == 6
    (tmp_path / "pw").write_text("")
    assert shell("keys", "new", "you", "--password-file", "pw")[0] == 5
    assert shell("keys", "new", "you", "--password-file", "absent")[0] == 5


def test_keys_as_json_and_their_id(shell):
    code, out, _ = shell("keys", "new", "me", "--algorithm", "ed25519", "--json")
    made = json.loads(out)
    assert code == 0
    assert (made["schema"], made["public"]) == ("pratique.keys/v1", "me.pub")
    code, out, _ = shell("keys", "id", "me.pub")
    assert out.strip() == made["key_id"]
    assert json.loads(shell("keys", "id", "me.pub", "--json")[1])["key_id"] == made["key_id"]
    assert shell("keys", "id", "me.key")[0] == 5
    assert shell("keys", "id", "absent")[0] == 5
    assert shell("keys", "new", "me")[0] == 2


REMOVE_ANN = ("remove", "set", "--person", "ann")
TOO_FEW = {
    "vetters": ((), ("add", "set", "--threshold", "vetter=2"), 3),
    "approvers": ((), ("add", "set", "--threshold", "approver=2"), 3),
    "both": ((), ("add", "set", "--threshold", "approver=2", "--threshold", "vetter=2"), 4),
    "a person": ((), REMOVE_ANN, 2),
    "a role": ((*REMOVE_ANN, "--role", "vetter"), (*REMOVE_ANN, "--role", "approver"), 2),
}


@pytest.mark.parametrize("case", TOO_FEW)
def test_a_change_that_leaves_too_few_people_changes_nothing(shell, tmp_path, case):
    """ann and bea hold both roles: each threshold is met by itself, both of them by nobody."""
    first, change, needed = TOO_FEW[case]
    make_keys(shell, "ann", "bea")
    both = [w for n in ("ann", "bea") for w in ("--vetter", f"{n}.pub", "--approver", f"{n}.pub")]
    key = ("--key", "bea.key")
    assert shell("trust", "init", "--team", "set", *both, "--admin", "bea.pub", *key)[0] == 0
    if first:
        assert shell("trust", *first, *key)[0] == 0
    before = hash_tree(tmp_path / "set")
    code, out, err = shell("trust", *change, *key)
    assert (code, out) == (2, "")
    why, hint = err.splitlines()
    assert why.startswith(f"refused: a model needs {needed} different people, and this names ")
    assert hint.startswith("   hint: `pratique trust add` with --vetter or --approver")
    assert hash_tree(tmp_path / "set") == before
    assert shell("trust", "install", "set", "--fingerprint", words(shell, "set"))[0] == 0


def test_enough_people_are_counted_after_all_changes_of_one_command(team):
    """Adding the person and raising the threshold is one change, whichever option comes first."""
    key = ("--key", "bea.key")
    assert team("trust", "add", "set", "--threshold", "approver=2", *key)[0] == 2
    more = ("--threshold", "approver=2", "--approver", "new.pub")
    assert team("trust", "add", "set", *more, *key)[0] == 0
    assert team("trust", "remove", "set", "--person", "new", *key)[0] == 2
    assert team("trust", "add", "set", "--vetter", "bea.pub", *key)[0] == 0
    # ann goes: bea may vet, new may approve, but approving takes two
    assert team("trust", "remove", "set", "--person", "ann", *key)[0] == 2
    assert team("trust", "add", "set", "--threshold", "approver=1", *key)[0] == 0
    assert team("trust", "remove", "set", "--person", "ann", *key)[0] == 0


def test_one_person_cannot_become_their_own_approver(shell, tmp_path):
    make_keys(shell, "me", "bea")
    assert shell("trust", "init", "--solo", "set", "--key", "me.key")[0] == 0
    before = hash_tree(tmp_path / "set")
    code, _, err = shell("trust", "add", "set", "--approver", "me.pub", "--key", "me.key")
    assert code == 2
    assert "needs 2 different people, and this names 1" in err
    assert hash_tree(tmp_path / "set") == before
    assert shell("trust", "add", "set", "--approver", "bea.pub", "--key", "me.key")[0] == 0


def test_a_set_with_too_few_people_can_still_revoke(shell, tmp_path, monkeypatch):
    """Sets from before this rule exist: stopping somebody must not wait for a second person."""
    make_keys(shell, "ann", "bea")
    both = ("--vetter", "ann.pub", "--approver", "ann.pub", "--admin", "bea.pub")
    with monkeypatch.context() as patch:
        patch.setattr("pratique.attest.people.enough_people", lambda *_, **__: None)
        assert shell("trust", "init", "--team", "set", *both, "--key", "bea.key")[0] == 0
    revoke = ("identity", "ann", "--reason", "left us", "--key", "bea.key")
    assert shell("trust", "revoke", "set", *revoke)[0] == 0
    assert shell("trust", "sign", "set", "--renew", "--key", "bea.key")[0] == 0


def test_a_set_that_fails_to_start_leaves_nothing(shell, tmp_path):
    make_keys(shell, "ann", "bea", "new")
    people = ("--vetter", "ann.pub", "--approver", "bea.pub", "--admin", "bea.pub")
    start = ("trust", "init", "--team", "set", *people)
    for keys in (("new.key",), ("bea.key", "new.key"), ("bea.key", "bea.key")):
        code, _, err = shell(*start, *(w for k in keys for w in ("--key", k)))
        assert code == 6
        assert "hint:" in err
        assert not (tmp_path / "set").exists()
    (tmp_path / "set").mkdir()
    assert shell(*start, "--key", "new.key")[0] == 6
    assert list((tmp_path / "set").iterdir()) == []
    assert shell(*start, "--key", "bea.key")[0] == 0


def test_a_set_that_cannot_be_written_leaves_nothing(shell, tmp_path, monkeypatch):
    make_keys(shell, "me")
    from pratique.attest import repository

    real, left = repository.write_atomically, [3]

    def full(path, data, mode):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(path, data, mode)

    start = ("trust", "init", "--solo", "set", "--key", "me.key")
    with monkeypatch.context() as patch:
        patch.setattr(repository, "write_atomically", full)
        code, _, err = shell(*start)
        assert (code, left[0]) == (7, -1)
        assert "No space left" in err
    assert not (tmp_path / "set").exists()
    assert shell(*start)[0] == 0


@pytest.mark.parametrize("more", [(), ("--root-fingerprint", "ab" * 32)])
def test_verify_says_which_trust_is_missing(shell, tmp_path, more):
    """The bundle is not looked at: what it is to be judged by comes first."""
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        code, out, err = shell("verify", "x.bundle", "--trust", name, *more)
        assert (code, out) == (5, "")
        why, hint = err.splitlines()
        assert why.startswith("refused: there is no ")
        assert name in why
        assert hint.startswith("   hint: ")


def test_verify_tells_the_kinds_of_trust_apart(team):
    with_words = ("--root-fingerprint", "ab" * 32)
    for place, more, expected in (
        ("set", (), 2),
        ("home", with_words, 2),
        ("set", ("--root-fingerprint", "00"), 2),
        ("set", with_words, 11),
    ):
        code, _, err = team("verify", "x.bundle", "--trust", place, *more)
        assert code == expected, (place, err)
        assert "hint: " in err
    assert team("--home", "fresh", "verify", "x.bundle")[0] == 11


def test_install_of_nothing_exits_5(team, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        for home in ("home", "another"):
            code, _, err = team("--home", home, "trust", "install", name)
            assert code == 5, err
