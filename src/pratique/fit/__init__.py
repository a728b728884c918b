"""How much memory a model needs on each rung, and which rung fits and helps. Pure: loads nothing.

`read_shape` (what the files say) + `read_machine` (what is truly free) + `Demand` (what is asked of
it) → `plan` → `LoadPlan`, with every number that led to the choice.
"""

from pratique.fit.machine import Gpu, Machine, read_machine
from pratique.fit.measured import Basis, Known
from pratique.fit.memory import Demand, Prediction, predict
from pratique.fit.plan import LoadPlan, RungReport, plan
from pratique.fit.shape import ModelShape, read_shape

__all__ = [
    "Basis",
    "Demand",
    "Gpu",
    "Known",
    "LoadPlan",
    "Machine",
    "ModelShape",
    "Prediction",
    "RungReport",
    "plan",
    "predict",
    "read_machine",
    "read_shape",
]
