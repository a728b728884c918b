import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pratique.attest.keys import (
    KeySigner,
    crypto_problem,
    generate_key,
    key_id_of,
    load_signer,
    parse_public_key,
    public_pem,
    verify_raw,
)
from pratique.attest.values import Method
from pratique.errors import FormatError, SealError, UsageError

ALGORITHMS = ["p256", "p384", "ed25519"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_made_keys_sign_what_their_public_half_verifies(tmp_path, algorithm):
    key_id = generate_key(tmp_path / "ann", algorithm)
    signer = load_signer(tmp_path / "ann.key")
    pem = (tmp_path / "ann.pub").read_bytes()
    assert signer.public_pem == pem
    assert signer.key_id == key_id == hashlib.sha256(pem).hexdigest() == key_id_of(pem)
    assert (signer.identity.method, signer.identity.subject) == (Method.KEY, key_id)
    key = parse_public_key(pem)
    assert verify_raw(key, signer.sign(b"data"), b"data")
    assert not verify_raw(key, signer.sign(b"data"), b"datb")
    assert not verify_raw(key, b"", b"data")


def test_private_file_is_private_pkcs8(tmp_path):
    generate_key(tmp_path / "ann")
    assert (tmp_path / "ann.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ann.key").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")


@pytest.mark.parametrize("suffix", [".key", ".pub"])
def test_nothing_is_overwritten(tmp_path, suffix):
    (tmp_path / f"ann{suffix}").write_text("precious")
    with pytest.raises(UsageError, match="not overwritten"):
        generate_key(tmp_path / "ann")
    assert [p.name for p in tmp_path.iterdir()] == [f"ann{suffix}"]


def test_a_dangling_link_is_not_written_through(tmp_path):
    (tmp_path / "ann.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not overwritten"):
        generate_key(tmp_path / "ann")
    assert not (tmp_path / "elsewhere").exists()


def test_dots_in_names_stay(tmp_path):
    generate_key(tmp_path / "ann.v2")
    assert (tmp_path / "ann.v2.key").exists()


def test_encrypted(tmp_path):
    generate_key(tmp_path / "ann", password=b"open sesame")
    assert b"ENCRYPTED" in (tmp_path / "ann.key").read_bytes()
    asked = []
    signer = load_signer(tmp_path / "ann.key", lambda: asked.append(1) or b"open sesame")
    assert asked == [1]
    assert signer.public_pem == (tmp_path / "ann.pub").read_bytes()
    with pytest.raises(SealError, match="the password is wrong"):
        load_signer(tmp_path / "ann.key", lambda: b"wrong")
    with pytest.raises(SealError, match="encrypted and no password"):
        load_signer(tmp_path / "ann.key")


def test_a_plain_key_asks_for_no_password(tmp_path):
    generate_key(tmp_path / "ann")
    load_signer(tmp_path / "ann.key", lambda: pytest.fail("asked"))


def test_empty_password_and_unknown_algorithm(tmp_path):
    with pytest.raises(UsageError, match="password is empty"):
        generate_key(tmp_path / "a", password=b"")
    with pytest.raises(UsageError, match="unknown key algorithm"):
        generate_key(tmp_path / "a", "rsa")
    assert list(tmp_path.iterdir()) == []


def write_private(path, key, mode=0o600):
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(mode)
    return path


def test_missing_wrong_and_foreign_keys_exit_6(tmp_path):
    public = tmp_path / "x.pub"
    generate_key(tmp_path / "x")
    public.chmod(0o600)
    big = tmp_path / "big"
    big.write_bytes(b"x" * 20_000)
    big.chmod(0o600)
    for path, reason in (
        (tmp_path / "absent", "cannot read the key"),
        (tmp_path, "cannot read the key"),
        (public, "not a usable private key"),
        (big, "too large"),
        (
            write_private(tmp_path / "rsa", rsa.generate_private_key(65537, 2048)),
            "neither an ECDSA",
        ),
        (
            write_private(tmp_path / "k1", ec.generate_private_key(ec.SECP256K1())),
            "neither an ECDSA",
        ),
    ):
        with pytest.raises(SealError, match=reason) as caught:
            load_signer(path)
        assert caught.value.exit_code == 6
        assert caught.value.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read(tmp_path, mode):
    generate_key(tmp_path / "x")
    (tmp_path / "x.key").chmod(mode)
    with pytest.raises(SealError, match="others may read the key"):
        load_signer(tmp_path / "x.key")


def test_the_peers_largest_curve_is_read(tmp_path):
    path = write_private(tmp_path / "p521", ec.generate_private_key(ec.SECP521R1()))
    signer = load_signer(path)
    assert verify_raw(parse_public_key(signer.public_pem), signer.sign(b"x"), b"x")


def test_public_keys_have_one_spelling(tmp_path):
    pem = KeySigner(ec.generate_private_key(ec.SECP256R1())).public_pem
    parse_public_key(pem)
    for other in (
        pem + b"\n",
        b"\n" + pem,
        pem.replace(b"\n", b"\r\n"),
        pem + pem,
        b"comment\n" + pem,
        b"",
        b"x" * 20_000,
    ):
        with pytest.raises(FormatError):
            parse_public_key(other)


def test_public_keys_of_other_kinds():
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256K1()),
    ):
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(FormatError, match="neither ECDSA"):
            parse_public_key(pem)


def test_private_key_is_no_public_key(tmp_path):
    generate_key(tmp_path / "x")
    with pytest.raises(FormatError):
        parse_public_key((tmp_path / "x.key").read_bytes())


def test_fips(tmp_path):
    for algorithm in ALGORITHMS:
        generate_key(tmp_path / algorithm, algorithm)
        key = parse_public_key((tmp_path / f"{algorithm}.pub").read_bytes())
        assert crypto_problem(key, "default") is None
        assert (crypto_problem(key, "fips") is None) == (algorithm != "ed25519")
        assert public_pem(key) == (tmp_path / f"{algorithm}.pub").read_bytes()
