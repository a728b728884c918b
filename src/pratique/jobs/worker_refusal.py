"""How a worker says that it does not load: one enumerated fault, no prose."""

from pratique.core.load import LoadFault


class LoadRefused(Exception):
    """The model was not loaded; `fault` is all that the gateway is told."""

    def __init__(self, fault: LoadFault) -> None:
        super().__init__(fault.value)
        self.fault = fault
