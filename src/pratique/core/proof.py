"""Values that only their verifier can make: having one *is* the proof that the check was done.

Constructing, subclassing, copying, pickling or changing such a value raises. A proof never outlives
its process: every new process verifies again. `mint` is for the verifiers alone; an import rule keeps
it out of every other room.
"""

from typing import Never, Self, TypeVar


class Proof:
    """Base of the proof types. A subclass names its fields in `__slots__` and is final."""

    __slots__: tuple[str, ...] = ()

    def __new__(cls, _never: Never) -> Self:
        """Refuse: see the module that verifies."""
        raise TypeError(f"{cls.__name__} is made by its verifier alone")

    def __init_subclass__(cls) -> None:
        """Permit the proof types themselves, and no child of theirs."""
        if cls.__bases__ != (Proof,):
            raise TypeError("a proof type cannot be subclassed")

    def __setattr__(self, name: str, _value: object) -> Never:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be removed")

    def __copy__(self) -> Never:
        raise TypeError(f"{type(self).__name__} cannot be copied")

    def __deepcopy__(self, _memo: object) -> Never:
        raise TypeError(f"{type(self).__name__} cannot be copied")

    def __reduce_ex__(self, _protocol: object) -> Never:
        raise TypeError(f"{type(self).__name__} does not leave its process: verify again")


P = TypeVar("P", bound=Proof)


def mint(kind: type[P], /, **fields: object) -> P:
    """Make a proof. Called by the one verifier of `kind`, after its last check.

    Raises TypeError unless exactly the declared fields are given.
    """
    declared = frozenset(kind.__slots__)
    if frozenset(fields) != declared:
        raise TypeError(f"{kind.__name__} has the fields {sorted(declared)}")
    made: P = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
