"""Approvals as SLSA Verification Summaries: one spelling, every field required, nothing implied.

The subject is the bundle id (SHA-256 of payload/SHA256SUMS), which covers names as well as bytes;
the Model Signing root is never used, since files that swap names without changing their order keep
it. What SLSA's predicate has no field for stands under `pratique_approval`. Only PASSED can be
signed or read: an approval of anything else would not be one. Source: SLSA v1.1, "Verification
Summary Attestation".
"""

from datetime import UTC, datetime
from typing import Final, get_args

from pydantic import ValidationError

from pratique import __version__
from pratique.attest import canonical
from pratique.attest.canonical import Json, items, only_keys, text
from pratique.attest.statement import STATEMENT_TYPE, read_subject
from pratique.attest.values import Approval, Scope
from pratique.core.findings import PolicyRef
from pratique.core.ids import parse_alias, parse_bundle_id, parse_digest, shown
from pratique.core.policy import Allowance, RungName
from pratique.errors import FormatError, UsageError

VERIFICATION_SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
VERIFIER: Final = "https://github.com/pratique/pratique"
SCHEMA: Final = "pratique.approval/v1"
MAX_TEXT: Final = 4096
MAX_ALLOWANCES: Final = 10_000
MAX_VARIANTS: Final = 100
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


def write_approval(approval: Approval) -> bytes:
    """Return the canonical statement for `approval`.

    Guarantees that `read_approval` gives the same value back. Raises UsageError for an approval that
    could not be read: empty reason, expiry before issue, unknown rungs.
    """
    payload = canonical.dump(
        {
            "_type": STATEMENT_TYPE,
            "predicateType": VERIFICATION_SUMMARY,
            "subject": [{"name": approval.name, "digest": {"sha256": approval.bundle_id}}],
            "predicate": {
                "verifier": {"id": VERIFIER, "version": {"pratique": __version__}},
                "timeVerified": _time_text(approval.issued),
                "resourceUri": f"urn:pratique:bundle:{approval.bundle_id}",
                "policy": {
                    "uri": approval.policy.name,
                    "digest": {"sha256": approval.policy.digest},
                },
                "verificationResult": "PASSED",
                "verifiedLevels": [],
                "pratique_approval": {
                    "schema": SCHEMA,
                    "allowances": [
                        a.model_dump(mode="json", exclude_none=True) for a in approval.allowances
                    ],
                    "expires": _time_text(approval.expires),
                    "reason": approval.reason,
                    "rungs": list(approval.rungs),
                    "scope": {"enclave": approval.scope.enclave, "use": approval.scope.use},
                    "variants": list(approval.variants),
                },
            },
        }
    )
    try:
        again = read_approval(
            dict(only_keys(canonical.parse(payload, "approval"), "approval", _TOP))
        )
    except FormatError as error:
        raise UsageError(f"this approval cannot be signed: {error.message}") from error
    if again != approval:
        raise UsageError("this approval cannot be signed: times must be UTC, in whole seconds")
    return payload


_TOP: Final = ("_type", "predicate", "predicateType", "subject")


def read_approval(statement: dict[str, Json]) -> Approval:
    """Read an approval out of a verified statement. Raises FormatError on anything unexpected."""
    name, digest = read_subject(statement)
    predicate = only_keys(
        statement["predicate"],
        "approval",
        (
            "verifier",
            "timeVerified",
            "resourceUri",
            "policy",
            "verificationResult",
            "verifiedLevels",
            "pratique_approval",
        ),
    )
    if predicate["verificationResult"] != "PASSED":
        raise FormatError("the approver's verdict is not PASSED")
    if predicate["resourceUri"] != f"urn:pratique:bundle:{digest}":
        raise FormatError("approval's resourceUri is not that of its subject")
    verifier = only_keys(predicate["verifier"], "verifier", ("id",), ("version",))
    if verifier["id"] != VERIFIER:
        raise FormatError("approval was made by an unknown verifier")
    policy = only_keys(predicate["policy"], "approval's policy", ("uri", "digest"))
    policy_digest = only_keys(policy["digest"], "policy digest", ("sha256",))
    own = only_keys(
        predicate["pratique_approval"],
        "pratique_approval",
        ("schema", "allowances", "expires", "reason", "rungs", "scope", "variants"),
    )
    if own["schema"] != SCHEMA:
        raise FormatError(f"approval has the unknown schema {shown(str(own['schema']))}")
    return _approval(
        name,
        parse_bundle_id(digest),
        PolicyRef(
            _line(policy["uri"], "policy name"),
            parse_digest(text(policy_digest["sha256"], "policy digest")),
        ),
        _time(predicate["timeVerified"], "timeVerified"),
        own,
    )


def _approval(
    name: str, bundle_id: str, policy: PolicyRef, issued: datetime, own: dict[str, Json]
) -> Approval:
    scope = only_keys(own["scope"], "scope", ("enclave", "use"))
    expires = _time(own["expires"], "expires")
    if expires <= issued:
        raise FormatError("approval expires before it was issued")
    return Approval(
        bundle_id=parse_bundle_id(bundle_id),
        name=_line(name, "bundle name"),
        policy=policy,
        issued=issued,
        expires=expires,
        reason=_line(own["reason"], "reason"),
        allowances=_allowances(own["allowances"]),
        rungs=_rungs(own["rungs"]),
        variants=_variants(own["variants"]),
        scope=Scope(_line(scope["enclave"], "scope's enclave"), _line(scope["use"], "scope's use")),
    )


def _allowances(value: Json) -> tuple[Allowance, ...]:
    try:
        found = tuple(
            Allowance.model_validate_json(canonical.dump(a))
            for a in items(value, "allowances", MAX_ALLOWANCES)
        )
    except ValidationError as error:
        raise FormatError("an accepted allowance is malformed") from error
    return found


def _rungs(value: Json) -> tuple[RungName, ...]:
    known: tuple[RungName, ...] = get_args(RungName)
    named = [text(r, "rung") for r in items(value, "rungs", len(known))]
    found = tuple(rung for rung in known if rung in named)
    if len(found) != len(named) or not found or len(set(named)) != len(named):
        raise FormatError("approval permits no rung, an unknown one, or one twice")
    by_name = {rung: rung for rung in known}
    return tuple(by_name[n] for n in named if n in by_name)  # in the approver's order


def _variants(value: Json) -> tuple[str, ...]:
    found = tuple(parse_alias(text(v, "variant")) for v in items(value, "variants", MAX_VARIANTS))
    if len(set(found)) != len(found):
        raise FormatError("approval names a variant twice")
    return found


def _line(value: Json, what: str) -> str:
    found = text(value, what)
    if not found.strip() or len(found) > MAX_TEXT or not found.isprintable():
        raise FormatError(f"approval's {what} is empty, too long or not plain text")
    return found


def _time_text(when: datetime) -> str:
    if when.tzinfo is None:
        raise UsageError("this approval cannot be signed: a time has no time zone")
    return when.astimezone(UTC).strftime(_TIME)


def _time(value: Json, what: str) -> datetime:
    written = text(value, what)
    try:
        when = datetime.strptime(written, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(f"approval's {what} is not a time like 2030-01-31T12:00:00Z") from error
    if when.strftime(_TIME) != written:
        raise FormatError(f"approval's {what} is not a time like 2030-01-31T12:00:00Z")
    return when
