"""The confined child that holds the model. It reads messages, answers, and can do nothing else.

Started by `confine.start_service`, after the lock was closed; the first message says what to load.
Exit codes: 0 told to stop or the gateway hung up, 1 a bug, 2 the gateway spoke another language, 3 could not
load, 4 the files changed under the model, 77 out of memory.
"""

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from pratique.core.load import LoadFault, LoadSpec, Task
from pratique.core.wire import (
    Cancel,
    Classify,
    Embed,
    Failed,
    Fault,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Spoiled,
    Stop,
    TokenIds,
    Tokenize,
)
from pratique.errors import FormatError
from pratique.jobs.worker_channel import Channel
from pratique.jobs.worker_files import HeldFiles, copy_code, hold
from pratique.jobs.worker_intake import Intake
from pratique.jobs.worker_refusal import LoadRefused

if TYPE_CHECKING:
    from pratique.jobs.worker_encode import Encoder
    from pratique.jobs.worker_engine import Engine
    from pratique.jobs.worker_grammar import Grammars
    from pratique.jobs.worker_job import Job
    from pratique.jobs.worker_load import LoadedModel
    from pratique.jobs.worker_prompts import Prompts

EXIT_BUG: Final = 1
EXIT_LANGUAGE: Final = 2
EXIT_NOT_LOADED: Final = 3
EXIT_SPOILED: Final = 4
EXIT_MEMORY: Final = 77
_RECHECK_SECONDS: Final = 15.0


def main(channel: socket.socket) -> None:
    """Serve one model over `channel` until told to stop. Never returns: the process exits."""
    talk = Channel(channel)
    try:
        code = _serve(talk)
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the gateway is gone
    except FormatError:
        code = EXIT_LANGUAGE
    except MemoryError:
        code = EXIT_MEMORY
    # Daemon threads must not delay the end.
    sys.stderr.flush()
    os._exit(code)


def _serve(talk: Channel) -> int:
    messages = talk.messages()
    first = next(messages, None)
    if not isinstance(first, Load):
        return EXIT_LANGUAGE
    try:
        started = time.monotonic()
        with hold(first.spec) as files:
            return _run(first.spec, files, talk, messages, time.monotonic() - started)
    except LoadRefused as refused:
        talk.send(LoadFailed(fault=refused.fault))
        return EXIT_MEMORY if refused.fault is LoadFault.OUT_OF_MEMORY else EXIT_NOT_LOADED


def _run(
    spec: LoadSpec,
    files: HeldFiles,
    talk: Channel,
    messages: Iterator[BaseModel],
    seconds_verify: float,
) -> int:
    if spec.remote_code:  # read at import: code is copied into the scratch directory, nowhere else
        os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="code-")
        _place_named_code(spec)
    import torch
    import transformers

    from pratique.jobs.worker_load import load

    torch.set_num_threads(spec.limits.threads)
    quiet: Any = transformers.logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    started = time.monotonic()
    loaded = load(spec, files.directory)
    desk = desk_for(spec, loaded, files, talk)
    if not files.unchanged():
        raise LoadRefused(LoadFault.FILE_CHANGED)
    talk.send(desk.hello(seconds_verify, time.monotonic() - started))
    threading.Thread(target=_read, args=(desk, messages, talk), daemon=True).start()
    if (
        not files.sealed
    ):  # a sealed copy cannot change, and what happens to the store is not its concern
        threading.Thread(target=_watch, args=(files, talk), daemon=True).start()
    desk.engine.run()
    return 0


def _place_named_code(spec: LoadSpec) -> None:
    """Make `ORG/NAME--module.Class` mean the files that were verified.

    Before it looks into a cache or asks a Hub, transformers takes `ORG/NAME` for a directory if there
    is one of that name (dynamic_module_utils.get_cached_module_file, is_local). So there is one, in a
    scratch directory that becomes the working directory and holds nothing else. The configuration
    stays byte for byte the sealed one. Were the library to stop looking there, nothing would be found
    at all: the cache is empty, and the lock has no network. Nothing is imported from the working
    directory itself: the interpreter is isolated (-I), so it is not on the path.
    """
    if not spec.named_code:
        return
    folder = Path(tempfile.mkdtemp(prefix="named-"))
    for code in spec.named_code:
        copy_code(code, folder / code.repo)
    os.chdir(folder)


class Desk:
    """Sorts what arrives: what can be answered at once is, the rest goes to the engine."""

    def __init__(
        self,
        spec: LoadSpec,
        loaded: "LoadedModel",
        prompts: "Prompts",
        engine: "Engine | Encoder",
        context: int,
        *,
        grammars: "Grammars | None" = None,
        answer: Callable[[BaseModel], None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self._grammars = grammars
        self._limits = spec.limits.model_copy(update={"context": context})
        self._loaded = loaded
        self._prompts = prompts
        inbox: Any = engine.inbox
        self._intake = Intake(self._job, inbox, answer, most=spec.limits.waiting)
        self._intake.start()

    def hello(self, seconds_verify: float, seconds_load: float) -> Loaded:
        """Describe the loaded model."""
        from pratique.jobs.worker_memory import resident

        now, peak = resident()
        loaded = self._loaded
        labels = getattr(loaded.config, "id2label", None) or {}
        return Loaded(
            task=loaded.task,
            context=self._limits.context,
            vocabulary=loaded.vocabulary,
            dimensions=int(getattr(loaded.text_config, "hidden_size", 0) or 0),
            template=self._prompts.template,
            tools=self._prompts.tools,
            tool_form=self._prompts.tool_form,
            dtype=str(loaded.model.dtype).removeprefix("torch."),
            bytes_resident=now,
            bytes_peak=peak,
            seconds_verify=seconds_verify,
            seconds_load=seconds_load,
            batching=loaded.batches,
            packed=loaded.packed,
            labels=tuple(str(labels[at]) for at in sorted(labels))
            if loaded.task in {Task.CLASSIFY, Task.TAG}
            else (),
        )

    def take(self, message: BaseModel) -> BaseModel | None:
        """Pass a message on to the engine, or return its answer."""
        task, inbox = self._loaded.task, self.engine.inbox
        match message:
            case Generate() if task is Task.GENERATE:
                return self._admit(message)
            case Embed() if task is Task.EMBED:
                inbox.put(message)  # type: ignore[arg-type]  # the task says which engine it is
            case Classify() if task in {Task.CLASSIFY, Task.TAG}:
                inbox.put(message)  # type: ignore[arg-type]  # as above
            case Tokenize():
                return self._tokenize(message)
            case Generate() | Embed() | Classify():
                return Failed(id=message.id, fault=Fault.WRONG_TASK)
            case Cancel():
                self._intake.cancel(message)
            case Stop():
                self._intake.stop(message)
            case _:
                raise FormatError("a second load was asked for")
        return None

    def _admit(self, message: Generate) -> Failed | None:
        if message.constrained:
            return self._intake.put(message)
        answer = self._job(message)
        if isinstance(answer, Failed):
            return answer
        inbox: Any = self.engine.inbox  # the task says which engine it is
        inbox.put(answer)
        return None

    def _job(self, message: Generate) -> "Job | Failed":
        from pratique.jobs.worker_job import admit

        masks = self._grammars.masks if self._grammars else None
        return admit(message, self._prompts, self._limits, masks)

    def _tokenize(self, message: Tokenize) -> TokenIds | Failed:
        from pratique.jobs.worker_prompts import Refused

        try:
            return TokenIds(id=message.id, ids=tuple(self._prompts.of_tokenize(message)))
        except Refused as refused:
            return Failed(id=message.id, fault=refused.fault)


def desk_for(spec: LoadSpec, loaded: "LoadedModel", files: HeldFiles, talk: Channel) -> Desk:
    """Return the desk of a loaded model, and with it the engine of its task."""
    from pratique.jobs.worker_prompts import Prompts

    context = min(spec.limits.context, loaded.context or spec.limits.context)
    engine: Any
    grammars = None
    if loaded.task is Task.GENERATE:
        prompts = Prompts(loaded.tokenizer, context=context, vocabulary=loaded.vocabulary)
        engine, grammars = _engine(spec, loaded, prompts, files, talk)
    else:
        from pratique.jobs.worker_encode import Encoder, read_pooling

        engine = Encoder(loaded, read_pooling(files.directory), spec.limits, talk)
        context = engine.context
        prompts = Prompts(loaded.tokenizer, context=context, vocabulary=loaded.vocabulary)
    return Desk(spec, loaded, prompts, engine, context, grammars=grammars, answer=talk.send)


def _engine(
    spec: LoadSpec, loaded: "LoadedModel", prompts: "Prompts", files: HeldFiles, talk: Channel
) -> "tuple[Engine, Grammars]":
    from pratique.fit.memory import grammar_room
    from pratique.jobs.worker_batch import Batch, Model, Solo
    from pratique.jobs.worker_engine import Engine
    from pratique.jobs.worker_grammar import Grammars
    from pratique.jobs.worker_prompts import generation_defaults
    from pratique.jobs.worker_sampling import defaults_of

    model = Model(loaded.model, loaded.device)
    said = generation_defaults(files.directory)
    ends = _ends(said, loaded)
    engine = Engine(
        Batch(model, spec.limits.kv_tokens) if loaded.batches else Solo(model),
        prompts,
        spec.limits,
        talk,
        defaults=defaults_of(said),
        ends=ends,
    )
    grammars = Grammars(
        loaded.tokenizer,
        rows=loaded.vocabulary,
        ends=ends,
        form=prompts.tool_form,
        room=grammar_room(spec.limits.rows),
        context=spec.limits.context,
    )
    return engine, grammars


def _ends(said: dict[str, Any], loaded: "LoadedModel") -> frozenset[int]:
    """Tokens that end an answer: generation config, configuration and tokenizer together."""
    found: set[int] = set()
    for value in (
        said.get("eos_token_id"),
        getattr(loaded.text_config, "eos_token_id", None),
        loaded.tokenizer.eos_token_id,
    ):
        values = value if isinstance(value, list) else [value]
        found |= {item for item in values if isinstance(item, int)}
    return frozenset(found)


def _read(desk: Desk, messages: Iterator[BaseModel], talk: Channel) -> None:
    """Read until the gateway hangs up; then nothing is left to live for."""
    code = EXIT_BUG  # a worker that no longer reads must not stay: everybody would wait for it
    try:
        for message in messages:
            if (answer := desk.take(message)) is not None:
                talk.send(answer)
        code = 0
    except OSError:
        code = 0
    except FormatError:
        code = EXIT_LANGUAGE
    except MemoryError:
        code = EXIT_MEMORY
    finally:
        os._exit(code)


def _watch(files: HeldFiles, talk: Channel) -> None:
    """A write to a mapped file would change the loaded model: notice it and stop."""
    while files.unchanged():
        time.sleep(_RECHECK_SECONDS)
    try:
        talk.send(Spoiled())
    finally:
        os._exit(EXIT_SPOILED)
