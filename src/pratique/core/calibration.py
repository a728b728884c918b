"""Measured runs of a model: what a worker really needed, and all that makes the figure comparable.

A calibration is made before sealing and travels under the signature; a home keeps measurements of its
own. Both are notes of one run: they can show that a prediction was too low, never that it was too high.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pratique.core.ids import RelPath, parse_digest
from pratique.core.rungs import Rung

CALIBRATION: Final = RelPath("calibration.json")
"""Its name below a snapshot's or a bundle's `provenance/`."""
MAX_BYTES: Final = 16 * 2**10
MOST_KEPT: Final = 64

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_Size = Annotated[int, Field(ge=2**20, le=2**46)]
"""Bytes of a process's resident set: a MiB to 64 TiB."""
_Tokens = Annotated[int, Field(gt=0, le=2**31)]
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$")]


class Measurement(BaseModel):
    """One run of one model on a CPU.

    `base`, `loaded` and `peak` are bytes of the process's resident set: after the libraries were
    imported, at most while loading, and at most in all. `context`, `rows`, `kv_tokens` and `prefill`
    (tokens) are what was asked of it.
    """

    model_config = _STRICT

    rung: Rung
    torch: _Word
    transformers: _Word
    machine: str = Field(pattern=r"^[ -~]{1,160}$", description="architecture, processor, CPUs")
    threads: int = Field(gt=0, le=1024)
    context: _Tokens
    rows: int = Field(gt=0, le=4096)
    kv_tokens: _Tokens
    prefill: _Tokens = 512
    sealed_copy: bool = False
    packed: bool = False
    base: _Size
    loaded: _Size
    peak: _Size

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.base <= self.loaded <= self.peak:
            raise ValueError("a process's highest size cannot be below an earlier one")
        return self


class CalibrationDocument(BaseModel):
    """`provenance/calibration.json`: one run of the vetted files whose manifest digest is `subject`."""

    model_config = _STRICT

    schema_: Literal["pratique.calibration/v1"] = Field(
        alias="schema", default="pratique.calibration/v1"
    )
    subject: Annotated[str, AfterValidator(parse_digest)]
    architecture: _Word
    unit: Literal["bytes resident, peak of the process"] = "bytes resident, peak of the process"
    measured: Measurement


class KeptMeasurements(BaseModel):
    """What this home measured of one bundle while it served it."""

    model_config = _STRICT

    schema_: Literal["pratique.measured/v1"] = Field(alias="schema", default="pratique.measured/v1")
    bundle: Annotated[str, AfterValidator(parse_digest)]
    measured: tuple[Measurement, ...] = Field(max_length=MOST_KEPT)
