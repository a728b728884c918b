"""Signing: what cannot be read back is not signed; names of signature files; words."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pratique.attest.sign import sign_approval, signature_name
from pratique.attest.values import Identity, Method, Role
from pratique.attest.words import matches, spell
from pratique.errors import FormatError, UsageError
from tests.support.trustkit import Kit, digest


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return Kit(tmp_path_factory.mktemp("sign"))


@pytest.mark.parametrize(
    "change",
    [
        {"reason": ""},
        {"reason": "two\nlines"},
        {"name": ""},
        {"rungs": ()},
        {"rungs": ("auto", "auto")},
        {"variants": ("a/b",)},
        {"variants": ("a", "a")},
        {"bundle_id": "x"},
    ],
)
def test_unreadable_approvals_are_not_signed(kit, change):
    with pytest.raises(UsageError, match="cannot be signed"):
        sign_approval(replace(kit.approval(), **change), kit.signer("bea"))


def test_times_without_zone_or_backwards(kit):
    good = kit.approval()
    for change in (
        {"expires": good.issued},
        {"expires": good.expires.replace(tzinfo=None)},
        {"issued": good.issued + timedelta(microseconds=5)},
    ):
        with pytest.raises(UsageError, match="cannot be signed"):
            sign_approval(replace(good, **change), kit.signer("bea"))


def test_names_follow_each_other():
    assert signature_name(Role.VETTER, []) == "vetter.sig"
    assert signature_name(Role.APPROVER, ["vetter.sig"]) == "approver.sig"
    assert signature_name(Role.APPROVER, ["approver.sig"]) == "approver-2.sig"
    taken = ["approver.sig", *(f"approver-{n}.sig" for n in range(2, 10))]
    with pytest.raises(UsageError, match="already bears 9"):
        signature_name(Role.APPROVER, taken)


def test_words_are_the_published_proquints():
    # 127.0.0.1 and 63.84.220.193 in D. S. Wilkerson's paper
    assert spell("7f000001" + "0" * 56, 2) == "lusab babad"
    assert spell("3f54dcc1" + "0" * 56, 2) == "gutih tugad"


def test_words_refuse_what_is_no_digest():
    with pytest.raises(FormatError):
        spell("xyz")
    with pytest.raises(UsageError):
        matches(digest("a"), "lusab babad")


def test_identities_speak_for_themselves():
    assert str(Identity(Method.KEY, digest("a"))) == "key " + "a" * 16
    assert str(Identity(Method.SIGSTORE, "a@b", "https://i")) == "a@b (https://i)"
    assert str(Identity(Method.CERTIFICATE, "a@b")) == "a@b"
