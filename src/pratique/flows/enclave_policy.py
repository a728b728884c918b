"""Which policy decides inside: the enclave's own, as its trust set carries it, before a built-in one."""

from pathlib import Path

from pratique.attest.install import installed_trust
from pratique.attest.trustroot import TrustRoot
from pratique.core.policy import Policy
from pratique.errors import VerificationRefused
from pratique.formats.policy import load_policy, parse_policy


def enclave_policy(home: Path, name_or_path: str) -> Policy:
    """Return the policy of that name from the trust installed in `home`, else built-in or a file.

    Raises PolicyError if it cannot be used.
    """
    try:
        trust = installed_trust(home)
    except VerificationRefused:
        return load_policy(name_or_path)
    return policy_under(trust, name_or_path)


def policy_under(trust: TrustRoot, name_or_path: str) -> Policy:
    """Return the policy of that name from `trust`, else the built-in one or a file."""
    data = trust.policies.get(f"{name_or_path}.toml")
    if data is not None:
        return parse_policy(data, f"policy {name_or_path} of enclave {trust.enclave}")
    return load_policy(name_or_path)
