"""Proof types: values that only their verifier can make.

Construction, subclassing, copying, pickling and assignment raise. A proof therefore says "the check
was made, in this process", not "somebody filled in a form". After pyca/cryptography's
`x509.verification.VerifiedClient`.
"""

from typing import Never, NoReturn, Self, TypeVar


class Proof:
    """Base of proof types. A subclass is declared `@final` and lists its fields in `__slots__`."""

    __slots__ = ()

    def __new__(cls, _never: Never) -> Self:
        """Refuse: see the module that verifies."""
        raise TypeError(f"{cls.__name__} is made by its verifier only")

    def __init_subclass__(cls) -> None:
        """Permit direct children only, which are the proof types themselves."""
        if cls.__mro__[1] is not Proof:
            raise TypeError(f"{cls.__mro__[1].__name__} cannot be subclassed")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} does not change")

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied: verify again")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied: verify again")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} does not serialise: verify again")


P = TypeVar("P", bound=Proof)


def mint(kind: type[P], **fields: object) -> P:
    """Make a proof. Private to the modules that verify: import rules keep it inside `attest`."""
    made = object.__new__(kind)
    names: tuple[str, ...] = tuple(kind.__slots__)
    for name in names:
        object.__setattr__(made, name, fields.pop(name))
    if fields:
        raise TypeError(f"{kind.__name__} has no field {next(iter(fields))}")
    return made
