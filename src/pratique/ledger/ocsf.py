"""How each event looks to a SIEM: its OCSF 1.9 class, activity and the attributes OCSF has for it.

Requests are API Activity (6003) with the `ai_operation` profile; loading and unloading are
Application Lifecycle (6002); everything that changes what is trusted, admitted or kept is Entity
Management (3004). An event's own fields are all under `unmapped`, so nothing is lost where OCSF has no
attribute for it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Fields = Mapping[str, Any]
Shape = dict[str, Any]

_API: Final = {"category_uid": 6, "class_uid": 6003}
_LIFECYCLE: Final = {"category_uid": 6, "class_uid": 6002}
_ENTITY: Final = {"category_uid": 3, "class_uid": 3004}
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SUCCESS, _FAILURE = 1, 2
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_START, _STOP = 3, 4
_NAMES: Final = {
    6003: {1: "Create", 2: "Read"},
    6002: {3: "Start", 4: "Stop"},
    3004: {1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
}


def shape(kind: str, fields: Fields) -> Shape:
    """Return the OCSF attributes of an event, without time, metadata and attestation."""
    return _SHAPES[kind](fields)


def _base(group: Mapping[str, int], activity: int, *, severity: int, ok: bool = True) -> Shape:
    return {
        **group,
        "activity_id": activity,
        "activity_name": _NAMES[group["class_uid"]][activity],
        "severity_id": severity,
        "status_id": _SUCCESS if ok else _FAILURE,
        "type_uid": group["class_uid"] * 100 + activity,
    }


def _model(fields: Fields) -> Shape:
    repo = fields.get("repo", "")
    return {
        "ai_provider": repo.partition("/")[0] or "local",
        "model_name": fields["name"],
        "uid": fields["bundle"],
    }


def _request(fields: Fields) -> Shape:
    prompt, completion = fields["prompt_tokens"], fields["completion_tokens"]
    ok = fields["status"] < 400
    return _base(_API, _CREATE, severity=_INFORMATIONAL if ok else _LOW, ok=ok) | {
        "actor": {"user": {"uid": fields["caller"]}},
        "ai_model": _model(fields),
        "api": {
            "operation": fields["route"],
            "request": {"uid": fields["request"]},
            "response": {"code": fields["status"]},
        },
        "duration": fields["latency_us"] // 1000,
        "message_context": {
            "ai_role_id": 2,
            "completion_tokens": completion,
            "prompt_tokens": prompt,
            "service": {"name": "pratique"},
            "total_tokens": prompt + completion,
            "uid": fields["request"],
        },
        "src_endpoint": {"uid": fields["caller"]},
    }


def _lifecycle(activity: int, *, ok: bool = True) -> Callable[[Fields], Shape]:
    def made(fields: Fields) -> Shape:
        severity = _INFORMATIONAL if ok else _MEDIUM
        found = _base(_LIFECYCLE, activity, severity=severity, ok=ok) | {
            "app": {"name": fields.get("name", fields["bundle"]), "uid": fields["bundle"]}
        }
        if "name" in fields:
            found["ai_model"] = _model(fields)
        return found

    return made


def _entity(
    entity: str, uid: str, activity: int, *, severity: int = _INFORMATIONAL, ok: bool = True
) -> Callable[[Fields], Shape]:
    """Entity Management about the `entity` that the field `uid` names."""

    def made(fields: Fields) -> Shape:
        about = {"type": entity, "uid": str(fields.get(uid, ""))}
        if uid != "name" and "name" in fields:
            about["name"] = fields["name"]
        found = _base(_ENTITY, activity, severity=severity, ok=ok) | {"entity": about}
        if "by" in fields:
            found["actor"] = {"user": {"uid": fields["by"]}}
        if comment := fields.get("reason") or fields.get("rollback"):
            found["comment"] = comment
        return found

    return made


_SHAPES: Final[Mapping[str, Callable[[Fields], Shape]]] = {
    "vetting": _entity("model", "subject", _READ),
    "allowance": _entity("finding", "digest", _UPDATE, severity=_MEDIUM),
    "sealed": _entity("bundle", "bundle", _CREATE),
    "approval": _entity("bundle", "bundle", _UPDATE),
    "admission": _entity("bundle", "bundle", _CREATE),
    "refusal": _entity("request", "subject", _READ, severity=_HIGH, ok=False),
    "alias_moved": _entity("alias", "name", _UPDATE, severity=_LOW),
    "load": _lifecycle(_START),
    "rung_lost": _lifecycle(_STOP, ok=False),
    "unloaded": _lifecycle(_STOP),
    "request": _request,
    "revocation": _entity("revocation", "subject", _DELETE, severity=_HIGH),
    "policy_changed": _entity("policy", "after", _UPDATE, severity=_MEDIUM),
    "trust_changed": _entity("trust root", "root", _UPDATE, severity=_MEDIUM),
    "text_logging": _entity("text logging", "policy_digest", _UPDATE, severity=_HIGH),
    "torn_tail": _entity("ledger", "sha256", _UPDATE, severity=_MEDIUM, ok=False),
    "rotation": _entity("ledger", "first", _UPDATE),
    "retention": _entity("ledger", "through", _DELETE, severity=_MEDIUM),
    "copy_failed": _entity("ledger", "copy", _UPDATE, severity=_MEDIUM, ok=False),
}
