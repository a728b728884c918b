"""dtype names end in `getattr(torch, name)`: only names of dtypes are let through."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, refuse
from pratique.vet.fields import configs, walk
from pratique.vet.repo import Repo

_DTYPE: Final = re.compile(
    r"(?:torch\.|jnp\.|np\.|tf\.)?(?:bfloat16|float(?:8(?:_e\d+m\d+(?:fn|fnuz|fnu|_b\d+)?)?|16|32|64|4_e2m1fn_x2)?|"
    r"half|double|bool|u?int(?:1|2|3|4|5|6|7|8|16|32|64)?|long|short|complex(?:32|64|128)|"
    r"qu?int(?:8|32|4x2|2x4)|auto|[bf]p?(?:4|8|16|32)|nf4|fp8_e\dm\d|mxfp[48]|nvfp4|e\dm\d|same|default|none)\Z",
    re.IGNORECASE,
)
_KEY: Final = re.compile(r"(?:.*_)?dtype\Z|bnb_4bit_quant_storage\Z")


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            if _KEY.match(key):
                for name in _names(value):
                    if not (isinstance(name, str) and _DTYPE.match(name)):
                        yield refuse(
                            CHECK.id,
                            entry.path,
                            f"{place} is {shown(str(name))}, which is no dtype",
                            "name a dtype: float32, float16, bfloat16, …",
                            Severity.HIGH,
                        )


def _names(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _names(child)
    elif value is not None and not isinstance(value, int):
        yield value


CHECK: Final = Check("config-dtype", "dtype fields name dtypes", Stage.CODE_AND_CONFIG, _run)
