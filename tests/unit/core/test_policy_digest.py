"""A policy's digest is in verdicts and approvals: a new version of pratique must not change it."""

from pratique.core.policy import Policy, ServeRules


def policy(**changes) -> Policy:
    return Policy(schema="pratique.policy/v1", name="test", **changes)


def test_it_is_what_it_was_when_the_format_was_fixed():
    assert policy().digest == "be9f45ccea625fd7cd1390a2623417429afdac91f9867ccaf9b063cf786d9e94"


def test_what_a_policy_asks_for_is_in_it():
    digests = {
        policy().digest,
        policy(serve=ServeRules(weights="sealed-copy")).digest,
        policy(serve=ServeRules(lock="reduced")).digest,
        policy(crypto="fips").digest,
    }
    assert len(digests) == 4
