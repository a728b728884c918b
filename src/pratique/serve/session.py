"""From an admitted bundle to a planned, recorded, confined runtime: what serve, generate and chat share.

The only way in is an `AdmittedBundle`, whose existence is the proof that it was verified in this very
process. The plan is made before anything is started, and is kept with its numbers.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pratique.admit.admitted import AdmittedBundle
from pratique.admit.load import check_signatures
from pratique.attest.install import installed_trust
from pratique.confine import Confinement, Requirement
from pratique.core.calibration import Measurement
from pratique.core.load import Limits, Task
from pratique.core.policy import Policy
from pratique.core.rungs import Rung
from pratique.core.wire import Loaded
from pratique.errors import PolicyError, ServeError, StorageError
from pratique.fit import Demand, LoadPlan, Machine, plan, read_machine, read_shape
from pratique.fit.machine import read_gpus
from pratique.fit.measured import is_credible
from pratique.fit.memory import BASE_CPU, kernels
from pratique.fit.plan import RungReport
from pratique.ledger import open_ledger_apart
from pratique.ledger.account import who
from pratique.serve.escrow import Escrow
from pratique.serve.fingerprint import marker
from pratique.serve.launch import Child, ConfinedLauncher, Model, named_code
from pratique.serve.measured import (
    machine_kind,
    measured_here,
    remember,
    sealed_with,
    versions,
)
from pratique.serve.own_code import code_reached, require_allowed
from pratique.serve.records import Records, TextLog
from pratique.serve.supervisor import Supervisor
from pratique.store import records as store_records
from pratique.store.cas import open_store

DEFAULT_CONTEXT: Final = 4096
DEFAULT_ROWS: Final = 32
TEXT_LOG: Final = Path("log") / "text.jsonl"
_KEPT_OUT: Final = ("keys", "ledger", "log", "trust")
_SCRATCH_FILE: Final = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator asks for. None: decided from the model and the machine."""

    rung: Rung | None = None
    context: int | None = None
    rows: int | None = None
    task: Task = Task.AUTO
    sealed_copy: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A planned runtime that has not been started."""

    admitted: AdmittedBundle
    model: Model
    plan: LoadPlan
    limits: Limits
    task: Task
    launcher: ConfinedLauncher
    records: Records
    home: Path

    def supervisor(self, tell: "Tell") -> Supervisor:
        """Make the supervisor; `tell` is told what happens."""
        return Supervisor(
            self.model,
            self.plan,
            self.launcher,
            _Recorded(self, tell),
            limits=self.limits,
            task=self.task,
        )


Tell = Callable[["Happening"], None]


@dataclass(frozen=True, slots=True)
class Happening:
    """Something the operator should read. `confinement` comes with a load."""

    words: str
    confinement: Confinement | None = None


def plan_for(
    admitted: AdmittedBundle, wishes: Wishes, machine: Machine | None = None, *, home: Path
) -> LoadPlan:
    """Plan the ladder for an admitted bundle on this machine. Loads nothing.

    Runs that were measured before sealing, or in this home, raise what the formula predicts.
    """
    machine = machine or read_machine(gpus=read_gpus())
    runs = sealed_with(admitted) + measured_here(home, admitted.bundle_id, cpus=machine.cpus)
    model = Model.of(admitted)
    shape = read_shape(model.directory, variants={n: folder for n, folder, _ in model.variants})
    longest = shape.context or DEFAULT_CONTEXT
    context = min(wishes.context or min(longest, DEFAULT_CONTEXT), longest)
    rows = wishes.rows or DEFAULT_ROWS
    demand = Demand(context=context, rows=rows, kv_tokens=rows * context)
    return plan(
        shape,
        machine,
        demand,
        permitted=_permitted(admitted, wishes),
        known=runs.known,
        sealed_copy=wishes.sealed_copy,
        notes=runs.notes,
    )


def _permitted(admitted: AdmittedBundle, wishes: Wishes) -> tuple[str, ...]:
    """The rungs that approval and policy permit, variants after them; one of them if wished for."""
    permitted = (
        *(str(rung) for rung in admitted.permitted_rungs),
        *(
            rung.value
            for rung in Rung
            if rung.variant is not None and rung.variant in admitted.permitted_variants
        ),
    )
    if wishes.rung is None:
        return permitted
    if wishes.rung.value not in permitted:
        raise PolicyError(
            f"the rung {wishes.rung.value} is not permitted for {admitted.label}",
            hint=f"permitted are: {', '.join(permitted) or 'none'}",
        )
    return (wishes.rung.value,)


@contextlib.contextmanager
def opened(
    admitted: AdmittedBundle, home: Path, *, policy: Policy, wishes: Wishes
) -> Iterator[Session]:
    """Plan, open the ledger, and yield a session; closes the ledger. Starts nothing.

    Raises ServeError where no rung can be used at all, with the reasons; ApprovalNeeded where the
    model needs code of its own that approvals and policy do not allow, file for file.
    """
    code = code_reached(admitted)
    require_allowed(code, admitted, policy=policy, today=datetime.now(UTC).date())
    if policy.serve.weights == "sealed-copy":
        wishes = replace(wishes, sealed_copy=True)
    planned = plan_for(admitted, wishes, home=home)
    machine = planned.machine
    limits = Limits(
        context=planned.demand.context,
        rows=planned.demand.rows,
        kv_tokens=planned.demand.kv_tokens,
        prefill_tokens=planned.demand.prefill,
        threads=machine.cpus,
    )
    named = named_code(admitted, code)
    model = replace(
        Model.of(admitted),
        remote_code=bool(code),
        named_code=named,
        sealed_copy=wishes.sealed_copy,
    )
    if planned.chosen is None:
        raise ServeError(
            f"{admitted.label} fits on no rung here: "
            + "; ".join(f"{r.rung.value}: {r.reason}" for r in planned.rungs),
            hint="see `pratique fit NAME`; free memory, shorten --context, or seal a variant",
        )
    launcher = ConfinedLauncher(
        readable=(
            model.directory,
            *(folder for _, folder, _ in model.variants),
            *(Path(code.directory) for code in named),
        ),
        forbidden=tuple(home / part for part in _KEPT_OUT if (home / part).exists()),
        requirement=Requirement(policy.serve.lock),
        memory=machine.free,
        threads=machine.cpus,
        kernels=kernels(planned.shape),
        file_size=max(model.largest_file, _SCRATCH_FILE) if wishes.sealed_copy else None,
    )
    with open_ledger_apart(home) as ledger, _texts(home, policy) as texts:
        records = Records(
            ledger,
            bundle_id=admitted.bundle_id,
            name=admitted.name,
            texts=texts,
            marker=marker(home) if policy.serve.prompt_fingerprint == "keyed" else None,
        )
        with _said(records, policy):
            yield Session(admitted, model, planned, limits, wishes.task, launcher, records, home)


@contextlib.contextmanager
def _texts(home: Path, policy: Policy) -> Iterator[TextLog | None]:
    """Open the text log if the policy asks for one."""
    if policy.serve.text_logging != "redacted":
        yield None
        return
    escrow = Escrow(policy.serve.escrow) if policy.serve.escrow else None
    texts = TextLog(home / TEXT_LOG, escrow)
    try:
        yield texts
    finally:
        texts.close()


@contextlib.contextmanager
def _said(records: Records, policy: Policy) -> Iterator[None]:
    """Record that text is logged while it is, and by whom: a deliberate switch leaves a trace."""
    if not records.keeps_text:
        yield
        return
    records.text_logging(on=True, policy_digest=policy.digest, by=who())
    try:
        yield
    finally:
        records.text_logging(on=False, policy_digest=policy.digest, by=who())


def _now() -> datetime:
    return datetime.now(UTC)


def still_admitted(
    admitted: AdmittedBundle, home: Path, policy: Policy, *, clock: Callable[[], datetime] = _now
) -> Callable[[], None]:
    """Return a check that raises once the bundle may no longer be served.

    It verifies the stored signatures again under the trust that is installed *now*: a revocation, an
    expired approval or trust too old to serve by shows within one interval, and so does an allowance
    for the model's own code that ran out. It reads no weights.
    """
    code = code_reached(admitted)

    def check() -> None:
        now = clock()
        require_allowed(code, admitted, policy=policy, today=now.date())
        store = open_store(home)
        with store.shared():
            record = store_records.resolve(store, admitted.bundle_id)
            check_signatures(store, record, trust=installed_trust(home), policy=policy, now=now)

    return check


class _Recorded:
    """Writes what happens to the ledger, and tells it."""

    def __init__(self, session: Session, tell: Tell) -> None:
        self._session = session
        self._tell = tell

    def loaded(self, report: RungReport, loaded: Loaded, child: Child) -> None:
        """A worker is ready."""
        predicted = report.prediction.host_total if report.prediction else 0
        self._session.records.loaded(
            rung=report.rung.value,
            device=report.device,
            predicted=predicted,
            measured=loaded.bytes_peak,
            skipped=tuple(
                f"{other.rung.value}: {other.reason}"
                for other in self._session.plan.rungs
                if not other.usable
            ),
        )
        self._keep(report, loaded.bytes_peak, loaded.bytes_peak)
        converted = " (converted, not commit-proved)" if report.rung.converted else ""
        packed = ", matrices packed" if loaded.packed else ""
        sealed = ", from sealed memory" if self._session.model.sealed_copy else ""
        self._tell(
            Happening(
                f"loaded on rung {report.rung.value}{converted}: {loaded.dtype}, verified in "
                f"{loaded.seconds_verify:.1f} s, loaded in {loaded.seconds_load:.1f} s, "
                f"{loaded.bytes_resident // 2**20} MiB resident, context {loaded.context}{packed}{sealed}",
                child.confinement,
            )
        )

    def ended(self, report: RungReport, loaded: Loaded, peak: int) -> None:
        """A worker is gone."""
        self._keep(report, loaded.bytes_peak, max(peak, loaded.bytes_peak))

    def _keep(self, report: RungReport, loaded: int, peak: int) -> None:
        """Keep what was measured for the next plan. The worker's word, so only what can be true."""
        session, demand = self._session, report.demand
        if report.device != "cpu" or demand is None or loaded < 2**20:
            return
        torch, transformers = versions()
        measured = Measurement(
            rung=report.rung,
            torch=torch,
            transformers=transformers,
            machine=machine_kind(session.plan.machine.cpus),
            threads=session.limits.threads,
            context=demand.context,
            rows=demand.rows,
            kv_tokens=demand.kv_tokens,
            prefill=demand.prefill,
            sealed_copy=session.model.sealed_copy,
            packed=report.packed,
            base=min(BASE_CPU, loaded),
            loaded=loaded,
            peak=peak,
        )
        if not is_credible(session.plan.shape, measured):
            return
        try:
            remember(session.home, session.admitted.bundle_id, measured)
        except StorageError as error:
            self._tell(Happening(f"the measurement was not kept: {error.message}"))

    def rung_lost(self, report: RungReport, reason: str) -> None:
        """A rung will not be tried again."""
        self._session.records.rung_lost(report.rung.value, reason)
        self._tell(Happening(f"rung {report.rung.value} lost: {reason}"))

    def restarting(self, reason: str, seconds: float) -> None:
        """A worker is started again after a pause."""
        self._tell(Happening(f"{reason}; starting it again in {seconds:g} s"))
