"""The ladder's rungs: the ways in which a model can be loaded, from native to most compressed.

A rung never changes silently: whoever reads a load decision, a record or `/health` sees its name.
"""

import enum
from typing import Final


class Rung(enum.StrEnum):
    """One way of loading, in the ladder's order."""

    AUTO = "auto"
    """Native dtype, whole on one device."""
    DEVICE_MAP = "device_map"
    """Native dtype, spread over GPU, then CPU, then disk (accelerate)."""
    INT8 = "int8"
    """8-bit weights made while loading (bitsandbytes)."""
    NF4 = "nf4"
    """4-bit weights made while loading (bitsandbytes)."""
    VARIANT_INT8 = "variant:int8"
    """8-bit weights made at seal time: converted, not commit-proved."""
    VARIANT_NF4 = "variant:nf4"
    """4-bit weights made at seal time: converted, not commit-proved."""

    @property
    def variant(self) -> str | None:
        """Name of the sealed variant that this rung loads, or None for the original weights."""
        return self.value.removeprefix("variant:") if self.value.startswith("variant:") else None

    @property
    def converted(self) -> bool:
        """Whether the weights that run are others than those the commit proof speaks of."""
        return self.variant is not None


LADDER: Final[tuple[Rung, ...]] = tuple(Rung)
"""All rungs, in the order in which they are tried."""
