"""Continuous batching gives each request what it would get alone."""

from typing import Any

import pytest
import torch
import transformers
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pratique.core.load import Limits, LoadSpec
from pratique.core.rungs import Rung
from pratique.core.wire import (
    Cancel,
    Delta,
    Done,
    Failed,
    Fault,
    Finish,
    Generate,
    Sampling,
    Started,
    Stop,
)
from pratique.fit import read_machine
from pratique.jobs import worker_cache, worker_engine
from pratique.jobs.worker_batch import Batch, Model, Solo
from pratique.jobs.worker_engine import Engine
from pratique.jobs.worker_job import Job, admit
from pratique.jobs.worker_load import load
from pratique.jobs.worker_prompts import Prompts
from pratique.jobs.worker_sampling import Defaults
from tests.support.serving import files_of, limits_for

GREEDY = Sampling(temperature=0)


def engine_for(
    loaded: Any, heard: Any, limits: Limits | None = None, *, solo: bool = False
) -> tuple[Engine, Prompts, Limits]:
    limits = limits or limits_for()
    prompts = Prompts(loaded.tokenizer, context=limits.context, vocabulary=loaded.vocabulary)
    model = Model(loaded.model, torch.device("cpu"))
    lanes = Solo(model) if solo else Batch(model, limits.kv_tokens)
    ends = frozenset({1})
    return Engine(lanes, prompts, limits, heard, defaults=Defaults(), ends=ends), prompts, limits


def run(
    loaded: Any,
    heard: Any,
    requests: list[Generate],
    *,
    limits: Limits | None = None,
    solo: bool = False,
) -> dict[int, list[Done]]:
    """Run requests to their end; admit them all before the first turn."""
    engine, prompts, limits = engine_for(loaded, heard, limits, solo=solo)
    for request in requests:
        job = admit(request, prompts, limits)
        if isinstance(job, Job):
            engine.inbox.put(job)
        else:
            heard.send(job)
    engine.inbox.put(Stop())
    # Stop refuses what comes after it, not what is already there.
    engine.run()
    found: dict[int, list[Done]] = {}
    for done in heard.of(Done):
        found.setdefault(done.id, []).append(done)
    return found


def plain(loaded: Any, prompt: list[int], tokens: int) -> str:
    """What transformers' own generate gives, with its own attention: `load` has put another in its place."""
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", sdpa_attention_forward)
        out = loaded.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    return str(
        loaded.tokenizer.decode(
            out[0, len(prompt) :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    )


PROMPTS = [list(range(10, 10 + size)) for size in (3, 40, 7, 90, 1, 20)]


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "deepseek_v3"])
def test_a_batch_of_different_lengths_gives_what_each_gets_alone(loaded, heard, architecture):
    model, _ = loaded(architecture)
    requests = [
        Generate(
            id=at, tokens=tuple(prompt), max_tokens=5 + 13 * at, sampling=GREEDY, ignore_eos=True
        )
        for at, prompt in enumerate(PROMPTS)
    ]
    done = run(model, heard, requests, limits=limits_for(rows=3))
    for at, prompt in enumerate(PROMPTS):
        assert done[at][0].text == plain(model, prompt, 5 + 13 * at), at


def test_what_only_training_needs_of_a_router_is_not_asked_for():
    """A configuration may ask for it, and the library then fails on padded rows."""
    config = transformers.MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=2,
        output_router_logits=True,
    )  # fmt: skip
    model = Model(transformers.MixtralForCausalLM(config).eval(), torch.device("cpu"))
    with torch.inference_mode():
        batch = Batch(model, 1024)
        staged = batch.prefill([[3, 4, 5], [6]], [None, None])
        together = staged.advance(512)
        for source in range(2):
            batch.join(staged, source)
        assert torch.isfinite(batch.step([7, 8])).all()
        alone = Batch(model, 1024).prefill([[6]], [None]).advance(512)
    assert (together[1] - alone[0]).abs().max() < 1e-5


@pytest.mark.skipif(not read_machine().packs, reason="packed on processors with AVX-512 alone")
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "deepseek_v3"])
def test_a_packed_batch_gives_what_each_gets_alone_from_matrices_that_are_not(
    loaded, heard, architecture
):
    model, directory = loaded(architecture)
    files, limits = files_of(directory), limits_for(rows=3)
    spec = LoadSpec(
        model_dir=str(directory), files=files, rung=Rung.AUTO, limits=limits, packed=True
    )
    packed = load(spec, directory)
    assert packed.packed
    requests = [
        Generate(id=at, tokens=tuple(prompt), max_tokens=30, sampling=GREEDY, ignore_eos=True)
        for at, prompt in enumerate(PROMPTS)
    ]
    done = run(packed, heard, requests, limits=limits)
    assert [done[at][0].text for at in range(6)] == [plain(model, p, 30) for p in PROMPTS]


@pytest.mark.parametrize("budget", [8, 512])
def test_long_prompts_in_pieces_give_the_same(loaded, heard, budget):
    model, _ = loaded("gemma3")  # sliding layers see the pieces' edges
    prompt = list(range(5, 125))
    request = Generate(id=0, tokens=tuple(prompt), max_tokens=10, sampling=GREEDY, ignore_eos=True)
    limits = limits_for().model_copy(update={"prefill_tokens": budget})
    assert run(model, heard, [request], limits=limits)[0][0].text == plain(model, prompt, 10)


def test_models_with_private_state_run_one_by_one_and_give_the_same(loaded, heard):
    model, _ = loaded("llama")
    requests = [
        Generate(id=at, tokens=tuple(p), max_tokens=6, sampling=GREEDY, ignore_eos=True)
        for at, p in enumerate(PROMPTS)
    ]
    done = run(model, heard, requests, solo=True)
    assert [done[at][0].text for at in range(6)] == [plain(model, p, 6) for p in PROMPTS]


def test_a_seeded_request_does_not_depend_on_its_neighbours(loaded, heard):
    model, _ = loaded("llama")
    wanted = Generate(
        id=0,
        tokens=(10, 20, 30),
        max_tokens=40,
        sampling=Sampling(temperature=0.9, top_p=0.95, seed=7),
        ignore_eos=True,
    )
    alone = run(model, heard, [wanted])[0][0].text
    neighbours = [
        Generate(
            id=at,
            tokens=tuple(range(5, 5 + 9 * at)),
            max_tokens=3 * at,
            sampling=Sampling(temperature=1.3, seed=at),
            ignore_eos=True,
        )
        for at in range(1, 6)
    ]
    heard.messages.clear()
    assert run(model, heard, [*neighbours, wanted])[0][0].text == alone


def test_choices_differ_from_each_other_and_repeat_with_the_seed(loaded, heard):
    model, _ = loaded("llama")
    request = Generate(
        id=0, tokens=(10, 11), max_tokens=12, n=3, sampling=Sampling(temperature=1, seed=3),
        ignore_eos=True,
    )  # fmt: skip
    first = sorted((d.index, d.text) for d in run(model, heard, [request])[0])
    heard.messages.clear()
    again = sorted((d.index, d.text) for d in run(model, heard, [request])[0])
    assert first == again
    assert len({text for _, text in first}) == 3


def test_streamed_pieces_and_the_rest_are_the_whole(loaded, heard):
    model, _ = loaded("llama")
    whole = Generate(id=0, tokens=(9, 8, 7), max_tokens=30, sampling=GREEDY, ignore_eos=True)
    text = run(model, heard, [whole])[0][0].text
    heard.messages.clear()
    done = run(model, heard, [whole.model_copy(update={"stream": True})])[0][0]
    assert "".join(d.text for d in heard.of(Delta)) + done.text == text


def test_a_stop_string_ends_the_answer_before_it(loaded, heard):
    model, _ = loaded("llama")
    whole = Generate(id=0, tokens=(9, 8, 7), max_tokens=30, sampling=GREEDY, ignore_eos=True)
    text = run(model, heard, [whole])[0][0].text
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    heard.messages.clear()
    done = run(model, heard, [whole.model_copy(update={"stop": (stop,)})])[0][0]
    assert done.finish is Finish.STOP
    assert done.text == text[: text.index(stop)]
    assert done.completion_tokens < 30


def test_the_end_token_ends_unless_asked_otherwise(loaded, heard):
    model, _ = loaded("llama")
    bias = Sampling(temperature=0, logit_bias={1: 100.0})
    done = run(model, heard, [Generate(id=0, tokens=(9,), max_tokens=5, sampling=bias)])[0][0]
    assert (done.finish, done.completion_tokens, done.text) == (Finish.STOP, 1, "")
    heard.messages.clear()
    go_on = Generate(id=0, tokens=(9,), max_tokens=5, sampling=bias, ignore_eos=True)
    done = run(model, heard, [go_on])[0][0]
    assert (done.finish, done.completion_tokens) == (Finish.LENGTH, 5)


def test_scores_are_those_of_the_model_before_temperature(loaded, heard):
    model, _ = loaded("llama")
    prompt = (9, 8, 7)
    request = Generate(
        id=0, tokens=prompt, max_tokens=1, logprobs=3, ignore_eos=True,
        sampling=Sampling(temperature=2.0, seed=1, presence_penalty=1.0),
    )  # fmt: skip
    score = run(model, heard, [request])[0][0].scores[0]
    with torch.inference_mode():
        logits = model.model(torch.tensor([prompt])).logits[0, -1]
    expected = torch.log_softmax(logits, -1)
    assert [t.logprob for t in score.top] == pytest.approx(expected.topk(3).values.tolist(), 1e-4)


def test_a_cancelled_request_says_nothing_more_and_others_go_on(loaded, heard):
    model, _ = loaded("llama")
    engine, prompts, limits = engine_for(model, heard)
    for at in range(3):
        request = Generate(
            id=at, tokens=(9, 8, at + 3), max_tokens=9, sampling=GREEDY, ignore_eos=True
        )
        job = admit(request, prompts, limits)
        assert isinstance(job, Job)
        engine.inbox.put(job)
    engine._take()
    engine._turn()
    engine._turn()
    engine.inbox.put(Cancel(id=1))
    engine.inbox.put(Stop())
    engine.run()
    assert sorted(d.id for d in heard.of(Done)) == [0, 2]
    assert heard.of(Done)[0].text == plain(model, [9, 8, 3], 9)


def test_requests_wait_for_room_in_the_cache_and_all_are_answered(loaded, heard):
    model, _ = loaded("llama")
    limits = limits_for(rows=8, kv_tokens=256)
    requests = [
        Generate(id=at, tokens=tuple(range(10, 60)), max_tokens=20, ignore_eos=True)
        for at in range(7)
    ]
    done = run(model, heard, requests, limits=limits)
    assert sorted(done) == list(range(7))


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (Generate(id=0, tokens=tuple([5] * 256)), Fault.PROMPT_TOO_LONG),
        (Generate(id=0, tokens=(5,), max_tokens=256), Fault.PROMPT_TOO_LONG),
        (Generate(id=0, tokens=()), Fault.PROMPT_EMPTY),
        (Generate(id=0, text=""), Fault.PROMPT_EMPTY),
        (Generate(id=0, tokens=(10**6,)), Fault.BAD_TOKEN),
        (Generate(id=0, tokens=(5,), sampling=Sampling(logit_bias={10**6: 1})), Fault.BAD_BIAS),
        (Generate(id=0, tokens=(5,), n=9), Fault.TOO_BIG),
        (Generate(id=0, messages=({"role": 5},)), Fault.TEMPLATE_REFUSED),
        (
            Generate(id=0, messages=({"role": "user", "content": "x"},), tools=({"a": 1},)),
            Fault.TEMPLATE_WITHOUT_TOOLS,
        ),
    ],
)
def test_what_can_never_run_is_refused_with_a_code(loaded, heard, request_, fault):
    model, _ = loaded("llama")
    _, prompts, limits = engine_for(model, heard)
    answer = admit(request_, prompts, limits)
    assert isinstance(answer, Failed)
    assert answer.fault is fault


NO_MEMORY = "[enforce fail] DefaultCPUAllocator: can't allocate memory"


def put(engine: Engine, prompts: Prompts, limits: Limits, *requests: Generate) -> None:
    for request in requests:
        job = admit(request, prompts, limits)
        assert isinstance(job, Job)
        engine.inbox.put(job)


def failing(monkeypatch: Any, owner: Any, name: str, when: Any) -> None:
    """Let a call run out of memory, once, where `when` says so of its arguments."""
    real, fallen = getattr(owner, name), []

    def call(*args: Any, **more: Any) -> Any:
        if not fallen and when(*args, **more):
            fallen.append(1)
            raise RuntimeError(NO_MEMORY)
        return real(*args, **more)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    "place",
    [
        (Model, "forward", lambda _, ids, *__: ids.shape == (2, 1)),
        (worker_engine, "draw", lambda logits, _: len(logits) == 2),
        (worker_engine, "score_rows", lambda raw, asked, tokens, piece: len(tokens) == 2),
    ],
)
def test_memory_running_out_costs_one_request_not_the_worker(loaded, heard, monkeypatch, place):
    model, _ = loaded("llama")
    engine, prompts, limits = engine_for(model, heard)
    failing(monkeypatch, *place)
    requests = [
        Generate(id=at, tokens=(9, 8, 3), max_tokens=9, sampling=GREEDY, ignore_eos=True)
        for at in range(2)
    ]
    put(engine, prompts, limits, *requests)
    engine.inbox.put(Stop())
    engine.run()
    assert [f.fault for f in heard.of(Failed)] == [Fault.OUT_OF_MEMORY]
    assert [d.text for d in heard.of(Done)] == [plain(model, [9, 8, 3], 9)]


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_memory_running_out_while_rows_move_leaves_them_whole(loaded, heard, monkeypatch, layer):
    """A longer prompt moves the others to the right, layer by layer: half of that must not stay."""
    model, _ = loaded("llama")
    engine, prompts, limits = engine_for(model, heard)
    real, calls = worker_cache._shifted, []

    def shifted(*args: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == layer + 1:
            raise RuntimeError(NO_MEMORY)
        return real(*args)

    put(engine, prompts, limits, Generate(id=0, tokens=(9, 8, 3), max_tokens=20, sampling=GREEDY, ignore_eos=True))  # fmt: skip
    with torch.inference_mode():
        engine._take()
        engine._turn()
        monkeypatch.setattr(worker_cache, "_shifted", shifted)
        put(
            engine,
            prompts,
            limits,
            Generate(
                id=1, tokens=tuple(range(5, 60)), max_tokens=9, sampling=GREEDY, ignore_eos=True
            ),
        )
        engine.inbox.put(Stop())
    engine.run()
    assert [(f.id, f.fault) for f in heard.of(Failed)] == [(1, Fault.OUT_OF_MEMORY)]
    assert [d.text for d in heard.of(Done)] == [plain(model, [9, 8, 3], 20)]


def test_a_state_that_cannot_be_taken_back_is_not_gone_on_with(loaded, heard, monkeypatch):
    model, _ = loaded("llama")
    engine, prompts, limits = engine_for(model, heard, solo=True)
    failing(monkeypatch, worker_engine, "draw", lambda logits, _: len(logits) == 2)
    requests = [
        Generate(id=at, tokens=(9, 8, 3), max_tokens=9, sampling=GREEDY, ignore_eos=True)
        for at in range(2)
    ]
    put(engine, prompts, limits, *requests)
    engine.inbox.put(Stop())
    engine.run()
    assert [f.id for f in heard.of(Failed)] == [0, 1]
    assert not heard.of(Done)


def test_a_request_cancelled_while_its_prompt_is_computed_never_runs(loaded, heard):
    model, _ = loaded("llama")
    engine, prompts, limits = engine_for(model, heard)
    put(
        engine,
        prompts,
        limits,
        *(Generate(id=at, tokens=(9, 8, at + 3), max_tokens=9, ignore_eos=True) for at in range(2)),
    )
    engine._take()
    engine._stage()
    engine._cancel(1)
    engine.inbox.put(Stop())
    engine.run()
    assert {message.id for message in heard.of(Started)} == {0}
    assert [done.id for done in heard.of(Done)] == [0]


def test_a_long_prompt_does_not_hold_up_what_runs(loaded, heard):
    """However long a prompt that arrives, whoever runs gets a token for each piece of it."""
    model, _ = loaded("llama")
    limits = limits_for(kv_tokens=4096).model_copy(update={"prefill_tokens": 16})
    engine, prompts, limits = engine_for(model, heard, limits)
    running = Generate(id=0, tokens=(9, 8, 3), max_tokens=60, stream=True, ignore_eos=True)
    long = Generate(id=1, tokens=tuple([5] * 160), max_tokens=2, ignore_eos=True)
    columns: list[int] = []
    real = Model.forward

    def forward(self: Model, ids: torch.Tensor, *rest: Any) -> Any:
        columns.append(ids.numel())
        return real(self, ids, *rest)

    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "forward", forward)
        put(engine, prompts, limits, running)
        engine._take()
        engine._turn()
        put(engine, prompts, limits, long)
        engine._take()
        begun = len(columns)
        while not any(started.id == 1 for started in heard.of(Started)):
            engine._turn()
            engine._flush()
    # Ten pieces of sixteen, and after each of them a step for those who run.
    assert columns[begun:][::2] == [16] * 10
    assert columns[begun:][1::2] == [1] * 9 + [2]


def test_every_request_is_told_its_prompt_length_first(loaded, heard):
    model, _ = loaded("llama")
    run(
        model,
        heard,
        [Generate(id=4, tokens=(9, 8), max_tokens=2, sampling=GREEDY, ignore_eos=True)],
    )
    kinds = [type(m) for m in heard.messages if getattr(m, "id", None) == 4]
    assert kinds[0] is Started
    assert heard.of(Started)[0].prompt_tokens == 2


def test_weights_that_lie_on_disk_answer_the_same(loaded, heard):
    from pratique.core.load import LoadSpec
    from pratique.core.rungs import Rung
    from pratique.jobs.worker_load import load
    from tests.support.serving import files_of

    model, directory = loaded("llama")
    spec = LoadSpec(
        model_dir=str(directory),
        files=files_of(directory),
        rung=Rung.DEVICE_MAP,
        limits=limits_for(),
        device_memory={"cpu": 250_000},
    )
    spread = load(spec, directory)
    assert "disk" in set(spread.model.hf_device_map.values())
    request = Generate(id=0, tokens=(9, 8, 7), max_tokens=6, sampling=GREEDY, ignore_eos=True)
    assert run(spread, heard, [request])[0][0].text == plain(model, [9, 8, 7], 6)


def test_prompts_are_computed_together_where_that_wastes_little(loaded, heard):
    model, _ = loaded("llama")
    engine, _, _ = engine_for(model, heard)

    def together(*lengths: int) -> bool:
        jobs = [Job(request=Generate(id=1, tokens=(1,)), prompt=[1] * n, answer=1) for n in lengths]
        return engine._go_together(jobs, [None] * len(jobs))

    assert together(4, 20)  # sixteen tokens of padding instead of a pass
    assert together(100, 100, 100)
    assert not together(20, 100)
    assert not together(200, 200, 200)  # more than a turn's work


@pytest.mark.parametrize("family", ["Mamba", "Mamba2", "FalconMamba", "Rwkv"])
def test_families_that_call_their_state_otherwise_go_on_from_it(family):
    import transformers

    sizes: dict[str, Any] = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2}
    if family == "Mamba2":
        sizes |= {"num_heads": 8, "head_dim": 16, "n_groups": 1}
    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(**sizes)
    net = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    prompts = [[5, 6, 7, 8], [9, 8]]
    lanes = Solo(Model(net, torch.device("cpu")))
    with torch.inference_mode():
        staged = lanes.prefill(prompts, [None, None])
        newest = staged.advance(512).argmax(dim=-1).tolist()
        found = [[token] for token in newest]
        for source in range(2):
            lanes.join(staged, source)
        for _ in range(5):
            newest = lanes.step(newest).argmax(dim=-1).tolist()
            for row, token in enumerate(newest):
                found[row].append(token)
        for prompt, tokens in zip(prompts, found, strict=True):
            whole = list(prompt)  # computed anew for each token: no state at all
            for _ in range(6):
                logits = net(input_ids=torch.tensor([whole]), use_cache=False).logits
                whole.append(int(logits[0, -1].argmax()))
            assert tokens == whole[len(prompt) :]
