from datetime import UTC, datetime

import pytest

from pratique.attest import people
from pratique.attest.admins import Admins
from pratique.attest.trustfile import Person
from pratique.attest.values import Method, Role
from pratique.errors import FormatError, UnreadableInput, UsageError
from tests.support.trustkit import Kit

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return Kit(tmp_path_factory.mktemp("people"))


def team(kit, **changes):
    holders = {
        Role.VETTER: [("ann", kit.signer("ann").public_pem)],
        Role.APPROVER: [("bea", kit.signer("bea").public_pem), ("cy", kit.signer("cy").public_pem)],
    }
    options = {
        "enclave": "harbour",
        "holders": holders,
        "thresholds": {Role.APPROVER: 2},
        "now": NOW,
    }
    return people.team(**{**options, **changes})


def test_solo(kit):
    trust, admins = people.solo(name="me", enclave="home", signer=kit.signer("me"), now=NOW)
    assert trust.single_person
    assert trust.roles[Role.APPROVER].threshold == 0
    assert admins.threshold == 1
    assert trust.issued.microsecond == 0


def test_team(kit):
    trust = team(kit)
    assert not trust.single_person
    assert trust.roles[Role.APPROVER].holders == ("bea", "cy")
    assert Role.RUNTIME not in trust.roles


def test_one_name_with_two_keys_is_one_person(kit):
    holders = {
        Role.VETTER: [
            ("ann", kit.signer("ann").public_pem),
            ("ann", kit.signer("ann2").public_pem),
        ],
        Role.APPROVER: [("bea", kit.signer("bea").public_pem)],
    }
    trust = team(kit, holders=holders, thresholds={})
    assert len(trust.people[0].keys) == 2
    assert trust.roles[Role.VETTER].holders == ("ann",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"thresholds": {Role.APPROVER: 3}},
            "work: the role approver needs more people than hold it",
        ),
        ({"thresholds": {Role.APPROVER: 0}}, "belong together"),
        ({"thresholds": {Role.VETTER: 0}}, "threshold 0"),
        ({"enclave": ""}, "enclave"),
        ({"enclave": "two words"}, "enclave"),
    ],
)
def test_roots_that_would_not_work(kit, change, reason):
    with pytest.raises(UsageError, match=reason):
        team(kit, **change)


@pytest.mark.parametrize("role", [Role.VETTER, Role.APPROVER])
def test_a_team_lacks_a_role(kit, role):
    other = Role.APPROVER if role is Role.VETTER else Role.VETTER
    with pytest.raises(UsageError, match=f"at least one {role}"):
        team(kit, holders={other: [("ann", kit.signer("ann").public_pem)]}, thresholds={})


def test_too_few_people_for_a_vetter_and_another_approver(kit):
    ann, bea = (("ann", kit.signer("ann").public_pem), ("bea", kit.signer("bea").public_pem))
    with pytest.raises(UsageError, match="needs 2 different people, and this names 1"):
        team(kit, holders={Role.VETTER: [ann], Role.APPROVER: [ann]}, thresholds={})
    both = {Role.VETTER: [ann, bea], Role.APPROVER: [ann, bea]}
    assert team(kit, holders=both, thresholds={}).roles[Role.VETTER].holders == ("ann", "bea")
    with pytest.raises(UsageError, match="needs 3 different people, and this names 2"):
        team(kit, holders=both, thresholds={Role.APPROVER: 2})


def test_one_key_under_two_names(kit):
    pem = kit.signer("ann").public_pem
    holders = {Role.VETTER: [("ann", pem)], Role.APPROVER: [("bea", pem)]}
    with pytest.raises(UsageError, match="share a credential"):
        team(kit, holders=holders, thresholds={})


def test_adding_an_approver_ends_the_single_persons_rule(kit):
    trust, _ = people.solo(name="me", enclave="home", signer=kit.signer("me"), now=NOW)
    two = people.with_holder(trust, Role.APPROVER, Person(name="bea", keys=(kit.pem("bea"),)))
    assert not two.single_person
    assert two.roles[Role.APPROVER].threshold == 1
    again = people.with_holder(two, Role.APPROVER, Person(name="bea", certificates=("bea@x",)))
    assert [i.method for i in again.people[-1].identities] == [Method.KEY, Method.CERTIFICATE]
    assert again.roles[Role.APPROVER].holders == ("bea",)


def test_removing(kit):
    trust = team(kit)
    with pytest.raises(UsageError, match="needs more people than hold it"):
        people.without_holder(trust, "cy", None)
    trust = people.with_threshold(trust, Role.APPROVER, 1)
    out = people.without_holder(trust, "cy", None)
    assert [p.name for p in out.people] == ["ann", "bea"]
    kept = people.without_holder(trust, "cy", Role.APPROVER)
    assert "cy" in [p.name for p in kept.people]
    with pytest.raises(UsageError, match="nobody is called dan"):
        people.without_holder(trust, "dan", None)
    with pytest.raises(UsageError, match="nobody holds the role runtime"):
        people.with_threshold(trust, Role.RUNTIME, 1)


def test_arguments(kit, tmp_path):
    kit.signer("ann")
    file = kit.root / "ann.pub"
    assert people.read_named_key(str(file))[0] == "ann"
    assert people.read_named_key(f"Ann={file}")[0] == "Ann"
    with pytest.raises(UnreadableInput):
        people.read_named_key(str(tmp_path / "absent.pub"))
    (tmp_path / "x.pub").write_text("x")
    with pytest.raises(FormatError):
        people.read_named_key(str(tmp_path / "x.pub"))
    role, person = people.sigstore_holder("vetter:ann=ann@x.test,https://idp.test")
    assert (role, person.sigstore[0].issuer) == (Role.VETTER, "https://idp.test")
    role, person = people.certificate_holder("approver:bea=bea@x.test")
    assert person.certificates == ("bea@x.test",)
    assert people.role_threshold("approver=2") == (Role.APPROVER, 2)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (people.certificate_holder, "ann=ann@x"),
        (people.certificate_holder, "captain:ann=ann@x"),
        (people.certificate_holder, "vetter:ann="),
        (people.certificate_holder, "vetter:an n=x"),
        (people.sigstore_holder, "vetter:ann=ann@x"),
        (people.role_threshold, "approver"),
        (people.role_threshold, "approver=-1"),
        (people.role_threshold, "approver=two"),
    ],
)
def test_malformed_arguments(parse, text):
    with pytest.raises(UsageError):
        parse(text)


def test_administrators(kit):
    key = kit.public("ann")
    for keys, threshold in (((), 1), ((key,), 0), ((key,), 2), ((key, key), 1)):
        with pytest.raises(UsageError):
            Admins(keys, threshold)
