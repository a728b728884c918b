"""What files say about memory, and which rung follows from it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.core.rungs import Rung
from pratique.errors import FormatError, UnreadableInput
from pratique.fit import Demand, Gpu, Machine, ModelShape, plan, predict, read_shape
from pratique.fit.memory import BASE_CPU, KERNELS, MIB, grammar_bytes, grammar_room, kernels
from tests.support import models

DEMAND = Demand(context=1024, rows=4, kv_tokens=4096)
SHAPE = ModelShape(
    architecture="LlamaForCausalLM", weights=2**28, files=2**28, linear=2**27,
    linear_elements=2**26, experts=0, largest=2**24, dtype="bfloat16", width=2, layers=16,
    hidden=1024, intermediate=4096, heads=16, head_size=64, cached=1024, expanded=0,
    vocabulary=32000, context=8192, generates=True, eager=False,
)  # fmt: skip


def machine(free: int, *gpus: Gpu) -> Machine:
    return Machine(total=64 * 2**30, free=free, limited_by="MemAvailable", cpus=4, gpus=gpus)


@pytest.mark.parametrize(
    ("architecture", "cached"),
    [
        ("llama", 2 * (16 + 16)),  # two key-value heads for four heads
        ("qwen3", 2 * (16 + 16)),
        ("gemma3", 2 * (16 + 16)),  # sliding layers count whole
        ("deepseek_v3", 32 + 8),  # the latent and one rotary key, not heads
        ("bert", 4 * (16 + 16)),
    ],
)
def test_elements_cached_per_token(tmp_path, architecture, cached):
    shape = read_shape(models.write_model(tmp_path, architecture))
    assert (shape.cached, shape.layers, shape.width) == (cached, 2, 4)
    assert shape.generates is (architecture != "bert")
    assert (shape.expanded > 0) is (architecture == "deepseek_v3")
    assert (shape.experts > 0) is (architecture == "deepseek_v3")


def test_multi_query_has_one_head(tmp_path):
    models.write_llama(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["num_key_value_heads"]
    config["multi_query"] = True
    models.write_json(tmp_path / "config.json", config)
    assert read_shape(tmp_path).cached == 32


def test_tied_padded_and_sharded_weights_are_counted_as_they_lie(tmp_path):
    plain = read_shape(models.write_llama(tmp_path / "plain"))
    tied = read_shape(models.write_tied(tmp_path / "tied"))
    padded = read_shape(models.write_padded(tmp_path / "padded", rows=64))
    sharded = read_shape(models.write_sharded(tmp_path / "sharded"))
    assert plain.weights - tied.weights == plain.vocabulary * plain.hidden * 4
    assert padded.vocabulary == plain.vocabulary + 64
    assert padded.weights - plain.weights == 2 * 64 * plain.hidden * 4
    assert sharded.weights == plain.weights


def test_a_cast_while_loading_counts_the_original_too(tmp_path):
    models.write_llama(tmp_path, dtype="F32")
    config = json.loads((tmp_path / "config.json").read_text()) | {"dtype": "bfloat16"}
    models.write_json(tmp_path / "config.json", config)
    shape = read_shape(tmp_path)
    assert shape.files == 2 * shape.weights


def test_hostile_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UnreadableInput):
        read_shape(tmp_path)
    models.write_llama(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(FormatError):
        read_shape(tmp_path)
    models.write_json(
        tmp_path / "model.safetensors.index.json", {"weight_map": {"a": "../../etc/passwd"}}
    )
    with pytest.raises(FormatError):
        read_shape(tmp_path)


def test_auto_is_taken_where_it_fits(tmp_path):
    shape = read_shape(models.write_llama(tmp_path))
    planned = plan(shape, machine(4096 * MIB), DEMAND)
    assert planned.chosen is not None
    assert planned.chosen.rung is Rung.AUTO
    by_rung = {report.rung: report for report in planned.rungs}
    assert "same as auto" in by_rung[Rung.DEVICE_MAP].reason
    assert "more memory than auto" in by_rung[Rung.INT8].reason
    assert "more memory than auto" in by_rung[Rung.NF4].reason
    assert "no such variant" in by_rung[Rung.VARIANT_NF4].reason


def big(shape):
    """The same shape with 8 GiB of weights."""
    return replace(
        shape, weights=8 * 2**30, files=8 * 2**30, linear=7 * 2**30, largest=2**28, layers=32
    )


def test_too_large_for_memory_goes_to_disk_and_never_to_what_does_not_help(tmp_path):
    shape = big(read_shape(models.write_llama(tmp_path)))
    planned = plan(shape, machine(4 * 2**30), DEMAND)
    assert planned.chosen is not None
    assert planned.chosen.rung is Rung.DEVICE_MAP
    assert planned.chosen.resident is not None
    assert planned.chosen.prediction is not None
    assert planned.chosen.prediction.host_total <= planned.chosen.free


def test_a_sealed_variant_is_used_where_it_is_permitted(tmp_path):
    shape = big(read_shape(models.write_llama(tmp_path)))
    small = replace(shape, files=2 * 2**30, weights=2 * 2**30)
    shape = replace(shape, variants={"nf4": small})
    permitted = ("auto", "variant:nf4")
    planned = plan(shape, machine(6 * 2**30), DEMAND, permitted=permitted)
    assert planned.chosen is not None
    assert planned.chosen.rung is Rung.VARIANT_NF4
    assert planned.chosen.rung.converted
    forbidden = plan(shape, machine(6 * 2**30), DEMAND, permitted=("auto",))
    assert forbidden.chosen is None


def test_the_policy_order_is_kept(tmp_path):
    shape = read_shape(models.write_llama(tmp_path))
    gpu = Gpu(0, 8 * 2**30, 8 * 2**30)
    planned = plan(shape, machine(2**33, gpu), DEMAND, permitted=("nf4", "auto"))
    assert planned.chosen is not None
    assert planned.chosen.rung is Rung.NF4
    after = planned.after({Rung.NF4})
    assert after is not None
    assert after.rung is Rung.AUTO


@pytest.mark.parametrize(
    ("gpu_gib", "rung"), [(24, Rung.AUTO), (11, Rung.DEVICE_MAP), (6, Rung.DEVICE_MAP)]
)
def test_with_a_gpu(tmp_path, gpu_gib, rung):
    shape = read_shape(models.write_llama(tmp_path))
    elements = 7 * 2**30 // 2
    shape = replace(big(shape), linear_elements=elements, width=2, dtype="bfloat16")
    gpu = Gpu(0, 24 * 2**30, gpu_gib * 2**30)
    host = machine(16 * 2**30, gpu)
    chosen = plan(shape, host, DEMAND).chosen
    assert chosen is not None
    assert chosen.rung is (Rung.AUTO if gpu_gib > 10 else rung)
    quantised = plan(shape, host, DEMAND, permitted=("auto", "int8", "nf4")).chosen
    assert quantised is not None
    assert quantised.rung is {24: Rung.AUTO, 11: Rung.AUTO, 6: Rung.INT8}[gpu_gib]


def test_less_room_means_a_smaller_cache_before_it_means_no(tmp_path):
    shape = replace(read_shape(models.write_llama(tmp_path)), layers=32, cached=2048)
    whole = predict(shape, Rung.AUTO, DEMAND).host_total
    planned = plan(shape, machine(whole - 100 * MIB), DEMAND)
    assert planned.chosen is not None
    assert planned.chosen.demand is not None
    assert DEMAND.context <= planned.chosen.demand.kv_tokens < DEMAND.kv_tokens
    assert plan(shape, machine(BASE_CPU), DEMAND).chosen is None


def test_a_sealed_copy_counts_what_is_not_used_where_it_lies(tmp_path):
    shape = big(read_shape(models.write_llama(tmp_path)))
    shape = replace(shape, total=shape.files + 7 * MIB)
    plain = predict(shape, Rung.AUTO, DEMAND).host_total
    assert predict(shape, Rung.AUTO, DEMAND, sealed_copy=True).host_total == plain + 7 * MIB
    cast = replace(shape, weights=shape.files // 2)  # loaded in half of the stored width
    copied = predict(cast, Rung.AUTO, DEMAND, sealed_copy=True).host
    assert copied["copy"] == cast.total
    assert copied["weights"] == cast.weights
    packed = replace(shape, variants={"nf4": replace(shape, files=2**30, total=2**30 + MIB)})
    assert predict(packed, Rung.VARIANT_NF4, DEMAND, sealed_copy=True).host["copy"] == 2**30 + MIB


def test_a_sealed_copy_leaves_nothing_on_disk(tmp_path):
    shape = big(read_shape(models.write_llama(tmp_path)))
    planned = plan(shape, machine(4 * 2**30), DEMAND, sealed_copy=True)
    assert planned.chosen is None
    by_rung = {report.rung: report for report in planned.rungs}
    assert "sealed copy" in by_rung[Rung.DEVICE_MAP].reason


@given(
    context=st.integers(16, 8192),
    rows=st.integers(1, 64),
    more=st.integers(0, 4096),
)
def test_more_is_never_predicted_to_need_less(context, rows, more):
    shape = SHAPE
    small = Demand(context=context, rows=rows, kv_tokens=context * rows)
    large = Demand(context=context + more, rows=rows + 1, kv_tokens=(context + more) * (rows + 1))
    first, second = predict(shape, Rung.AUTO, small), predict(shape, Rung.AUTO, large)
    assert first.host_total <= second.host_total
    assert first.host_total >= shape.weights + context * rows * shape.bytes_per_token


def test_one_layer_of_experts_is_counted_again_while_it_runs(tmp_path):
    shape = read_shape(models.write_model(tmp_path / "moe", "deepseek_v3"))
    assert shape.experts
    plain = predict(replace(shape, experts=0), Rung.AUTO, DEMAND).host["activations"]
    assert (
        predict(shape, Rung.AUTO, DEMAND).host["activations"]
        > plain + shape.experts // shape.layers
    )


def test_kernels_are_counted_in_half_precision(tmp_path):
    whole = read_shape(models.write_llama(tmp_path / "whole"))
    half = read_shape(models.write_llama(tmp_path / "half", dtype="BF16"))
    assert "kernels" not in predict(whole, Rung.AUTO, DEMAND).host
    dense = predict(half, Rung.AUTO, DEMAND).host["kernels"]
    assert dense > 0
    assert "kernels" not in predict(half, Rung.AUTO, DEMAND, on_gpu=True).device
    packed = replace(whole, variants={"nf4": whole})  # computes in half precision all the same
    assert predict(packed, Rung.VARIANT_NF4, DEMAND).host["kernels"] == dense


# --- grammars ----------------------------------------------------------------------------


def test_grammars_are_counted_for_tokenizers_that_can_be_held_to_one(tmp_path):
    held = read_shape(models.write_llama(tmp_path / "held"))
    assert held.tree >= 256
    assert predict(held, Rung.AUTO, DEMAND).host["grammars"] > grammar_room(DEMAND.rows)
    words = read_shape(models.write_model(tmp_path / "words", "llama", vocabulary="wordpiece"))
    encoder = read_shape(models.write_model(tmp_path / "encoder", "bert"))
    for shape in (words, encoder):
        assert shape.tree == 0
        assert "grammars" not in predict(shape, Rung.AUTO, DEMAND).host


def test_a_tokenizer_that_cannot_be_read_is_taken_for_a_large_one(tmp_path):
    known = read_shape(models.write_llama(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    unread = read_shape(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert read_shape(tmp_path).tree == unread.tree > known.tree


@pytest.mark.parametrize("kind", ["byte_bpe", "fallback_bpe"])
def test_the_tree_of_a_vocabulary_is_as_large_as_the_beginnings_in_it(tmp_path, kind):
    shape = read_shape(models.write_model(tmp_path, "llama", vocabulary=kind))
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    texts = {*state["model"]["vocab"], *(token["content"] for token in state["added_tokens"])}
    if kind == "fallback_bpe":
        texts = {text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode() for text in texts}
    assert shape.tree == len({text[:at] for text in texts for at in range(1, len(text) + 1)})


@given(rows=st.integers(1, 200), vocabulary=st.integers(300, 300_000), nodes=st.integers(1, 5))
def test_more_rows_and_more_tokens_never_make_grammars_smaller(rows, vocabulary, nodes):
    def size(rows: int, vocabulary: int, tree: int) -> int:
        shape = replace(SHAPE, vocabulary=vocabulary, tree=tree)
        return grammar_bytes(shape, Demand(context=512, rows=rows, kv_tokens=512 * rows))

    one = size(rows, vocabulary, nodes * vocabulary)
    assert one < size(rows + 1, vocabulary, nodes * vocabulary)
    assert one < size(rows, vocabulary + 1, nodes * vocabulary)
    assert one < size(rows, vocabulary, nodes * vocabulary + 1)
    assert one > grammar_room(rows)


def test_beside_a_gpu_grammars_are_the_hosts():
    found = predict(replace(SHAPE, tree=64_000), Rung.AUTO, DEMAND, on_gpu=True)
    assert found.host["grammars"] > 0
    assert "grammars" not in found.device


# --- packed matrices ---------------------------------------------------------------------


def wide(free: int, *gpus: Gpu) -> Machine:
    return replace(machine(free, *gpus), packs=True)


def test_matrices_are_packed_where_all_that_is_asked_for_still_fits(tmp_path):
    shape = read_shape(models.write_tied(tmp_path))
    shape = replace(shape, shared=2**30)
    plain = predict(shape, Rung.AUTO, DEMAND).host_total
    packed = predict(shape, Rung.AUTO, DEMAND, packed=True).host_total
    assert packed >= plain + shape.shared
    roomy = plan(shape, wide(2 * packed), DEMAND).chosen
    assert roomy is not None
    assert roomy.packed
    assert roomy.prediction is not None
    assert roomy.prediction.host_total == packed
    assert "packed" in roomy.reason
    tight = plan(shape, wide(plain + 2**29), DEMAND).chosen
    assert tight is not None
    assert (tight.rung, tight.packed, tight.reason) == (Rung.AUTO, False, "fits")


def test_a_smaller_cache_is_not_the_price_of_packing(tmp_path):
    shape = replace(read_shape(models.write_llama(tmp_path)), layers=32, cached=2048)
    whole = predict(shape, Rung.AUTO, DEMAND).host_total
    chosen = plan(shape, wide(whole - 100 * MIB), DEMAND).chosen
    assert chosen is not None
    assert not chosen.packed


def test_only_what_is_loaded_as_it_lies_on_such_a_cpu_is_packed(tmp_path):
    shape = read_shape(models.write_llama(tmp_path))
    gpu = Gpu(0, 8 * 2**30, 8 * 2**30)
    assert not plan(shape, machine(2**33), DEMAND).rungs[0].packed
    assert not any(report.packed for report in plan(shape, wide(2**33, gpu), DEMAND).rungs)
    cast = replace(shape, files=2 * shape.weights)
    assert not plan(cast, wide(2**33), DEMAND).rungs[0].packed
    other = replace(shape, dtype="float16", width=2)
    assert not plan(other, wide(2**33), DEMAND).rungs[0].packed
    small = replace(shape, variants={"nf4": shape})
    packed = [r.rung for r in plan(small, wide(2**33), DEMAND).rungs if r.packed]
    assert packed == [Rung.AUTO]


def test_without_packing_the_rung_stays_as_it_was_planned(tmp_path):
    shape = read_shape(models.write_llama(tmp_path))
    planned = plan(shape, wide(2**33), DEMAND)
    assert planned.without_packing().rungs == plan(shape, machine(2**33), DEMAND).rungs


def test_a_head_is_shared_if_there_is_none_of_its_own(tmp_path):
    tied = read_shape(models.write_tied(tmp_path / "tied"))
    assert tied.shared == tied.vocabulary * tied.hidden * 4
    assert read_shape(models.write_llama(tmp_path / "plain")).shared == 0
    assert read_shape(models.write_bert(tmp_path / "bert")).shared == 0


@pytest.mark.parametrize(
    ("tensors", "shared"),
    [
        ({"backbone.embeddings.weight": (1024, 64), "l.out_proj.weight": (64, 64)}, 1024 * 64),
        ({"model.embeddings.tok_embeddings.weight": (1024, 64)}, 1024 * 64),
        # Rows tell a head from a layer of that name.
        ({"t.wte.weight": (1040, 64), "t.attention.output.weight": (64, 64)}, 1040 * 64),
        ({"rwkv.embeddings.weight": (1024, 64), "head.weight": (1024, 64)}, 0),
        ({"g.embed_in.weight": (1024, 64), "embed_out.weight": (1024, 64)}, 0),
    ],
)
def test_an_embedding_is_known_by_its_rows_whatever_its_name(tmp_path, tensors, shared):
    config = {"architectures": ["AnyForCausalLM"], "vocab_size": 1024, "hidden_size": 64}
    models.write_json(tmp_path / "config.json", config)
    models.write_weights(tmp_path, {name: np.zeros(size) for name, size in tensors.items()})
    assert read_shape(tmp_path).shared == shared * 4


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_thin_matrices_are_counted_as_large_as_they_become(tmp_path, dtype):
    config = {"architectures": ["AnyForCausalLM"], "vocab_size": 64, "hidden_size": 4096}
    models.write_json(tmp_path / "config.json", config)
    sizes = {
        "embed.weight": (64, 4096),
        "thin.weight": (3, 4096),
        "long.weight": (4096, 1),
        "b": (9,),
    }
    models.write_weights(tmp_path, {name: np.zeros(s) for name, s in sizes.items()}, dtype=dtype)
    shape = read_shape(tmp_path)
    assert shape.padding == (61 * 4096 + 63 * 4096) * shape.width
    plain, packed = (predict(shape, Rung.AUTO, DEMAND, packed=it).host for it in (False, True))
    assert packed["weights"] - plain["weights"] == shape.padding + shape.shared


def test_there_is_room_for_a_kernel_of_each_size_of_matrix_twice(tmp_path):
    shape = read_shape(models.write_llama(tmp_path / "llama"))
    assert (
        shape.kinds == 5
    )  # queries and what leaves attention, keys and values, the head, two of the layer
    assert kernels(shape) == KERNELS >= 2 * shape.kinds
    many = replace(shape, kinds=20)
    assert kernels(many) >= 2 * many.kinds
    few, more = (predict(s, Rung.AUTO, DEMAND, packed=True).host["kernels"] for s in (shape, many))
    assert more * kernels(shape) == few * kernels(many)


def test_what_has_too_many_sizes_of_matrices_is_not_packed(tmp_path):
    shape = replace(read_shape(models.write_llama(tmp_path)), kinds=10_000)
    assert not plan(shape, wide(2**33), DEMAND).rungs[0].packed
    assert kernels(shape) < 100


def test_packed_matrices_are_beside_a_sealed_copy(tmp_path):
    shape = replace(big(read_shape(models.write_llama(tmp_path))), total=8 * 2**30)
    found = predict(shape, Rung.AUTO, DEMAND, sealed_copy=True, packed=True).host
    assert (found["copy"], found["weights"]) == (8 * 2**30, shape.weights + shape.padding)


def test_half_precision_that_is_widened_is_counted(tmp_path):
    half = read_shape(models.write_llama(tmp_path, dtype="BF16"))
    demand = replace(DEMAND, context=16384, kv_tokens=16384)
    every = replace(half, cached=2 * half.heads * half.head_size)  # a key for every head
    grouped = predict(half, Rung.AUTO, demand).host["activations"]
    assert predict(every, Rung.AUTO, demand).host["activations"] > grouped
