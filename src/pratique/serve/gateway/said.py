"""What all objects within a request have in common: nothing unknown, and `null` is "not said"."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Said(BaseModel):
    """Something of which `null` fields were not said, as clients send back what they were given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None}
