"""Rows say with a memory what they would say if all were computed anew."""

import copy
import functools
import re

import connector_samples
import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest
import uncached
from short_form import slow_unless
from uncached import asked

from mmjax import batch as batch_lib
from mmjax import config, optim, sharding
from mmjax.generation import speaker
from mmjax.models import vlm
from mmjax.ops import cross_entropy

NEW = 6


pytestmark = pytest.mark.usefixtures("quick_compilation")


YARN = config.RopeScaling("yarn", factor=4.0, original_length=8, slow=0.1, fast=1.0)
GEMMA = {
    "activation": "gelu_tanh", "post_norms": True, "norm_unit_offset": True,
    "scale_embeddings": True, "tied_embeddings": True,
}  # fmt: skip
CAPS = {"attention_softcap": 1.0, "logit_softcap": 2.0, "query_scale": 0.5}
EXPERTS = {"experts": 4, "every": 2, "backend": "blocked"}
DECODERS = {
    "dense": {},
    "qwen2": {"qkv_bias": True, "kv_heads": 1},
    "qwen3": {"qk_norm": True, "rope_scaling": YARN},
    "mistral": {"window": 3},
    "gemma2": {"window": 3, "global_every": 2, **GEMMA, **CAPS},
    "gemma3": {
        "layers": 3, "qk_norm": True, "window": 3, "global_every": 2,
        "local_rope_theta": 50.0, **GEMMA,
    },
    "experts": {"layers": 3, "moe": config.Moe(**EXPERTS)},
    "ragged": {"moe": config.Moe(**EXPERTS | {"backend": "ragged_dot"})},
    "crossed": {"layers": 3, "cross_attention": config.CrossAttention(every=2)},
    "crossed_all": {
        "qk_norm": True, "window": 3, "cross_attention": config.CrossAttention(
            every=1, images="all_before", row_images=2
        ),
    },
}  # fmt: skip
DEFAULT = ("gemma3", "experts")
# Images anywhere, prompts of different lengths, one of text alone and one that goes on
# after another document of its row.
ROWS = [
    [[3, 4, 5, 6, 7, 8, 9]],
    [[1, "slot 0", 9]],
    [[2, "slot 1", 5, "slot 0", 6]],
    [[1, "slot 2", 3], [2, 5, "slot 2"]],
]


def decoder_of(name: str) -> config.Model:
    made = model_samples.model()
    for field, value in DECODERS[name].items():
        setattr(made.decoder, field, copy.deepcopy(value))
    return made


@functools.cache
def made(name: str) -> tuple[config.Model, dict, speaker.Speaker, dict]:
    """A model, its parameters, its functions and weights."""
    model = decoder_of(name)
    params = model_samples.parameters(model)
    functions = speaker.make(model)
    return model, params, functions, functions.prepare(params)


def rows_of(model: config.Model, rows=ROWS, room: int = NEW):
    return uncached.prompts(rows, 3, config.crop_positions(model), room)


def said(name: str, batch, lengths, ask, room: int = 8, watch=None):
    _, _, functions, weights = made(name)
    lengths_ZR = np.array([lengths], np.int32)
    return speaker.speak(functions, weights, batch, lengths_ZR, ask, room, watch)


def assert_as_uncached(model, params, functions, weights) -> None:
    batch, lengths = rows_of(model)
    expected = uncached.greedy(model, params, batch, lengths, NEW)
    lengths_ZR = np.array([lengths], np.int32)
    ask = asked(len(lengths), NEW)
    found = speaker.speak(functions, weights, batch, lengths_ZR, ask, 8)
    assert found.tokens_ZRT[0, :, :NEW].tolist() == expected
    assert len({token for row in expected for token in row}) > 3
    assert found.counts_ZR.tolist() == [[NEW] * len(lengths)]
    assert (found.stop_ZR == -1).all()


@pytest.mark.parametrize("name", slow_unless(DECODERS, DEFAULT))
def test_each_token_is_that_of_the_whole_row_computed_anew(name):
    assert_as_uncached(*made(name))


@pytest.mark.parametrize("kind", slow_unless(connector_samples.TOKENS, ("mlp",)))
def test_so_it_is_with_each_connector(kind):
    model = connector_samples.model(kind)
    model.vit.image_size = 8
    if kind == "token_concat":
        model.connector.tokens = 2
    elif kind in ("linear", "mlp"):
        model.connector.tokens = 4
    elif kind in ("average_pool", "c_abstractor", "pixel_shuffle"):
        model.connector.tokens = 1
    # With other seeds these say little, which would prove little.
    seed = 3 if kind in ("c_abstractor", "linear") else 1
    params = model_samples.parameters(model, seed)
    functions = speaker.make(model)
    assert_as_uncached(model, params, functions, functions.prepare(params))


def test_capacity_drops_no_token_when_rows_speak():
    tight, free = decoder_of("experts"), decoder_of("experts")
    tight.decoder.moe.capacity_factor = 0.5
    _, params, _, weights = made("experts")
    batch, lengths = rows_of(free)
    functions = speaker.make(tight)
    lengths_ZR = np.array([lengths], np.int32)
    found = speaker.speak(functions, weights, batch, lengths_ZR, asked(4, NEW), 8)
    expected = uncached.greedy(free, params, batch, lengths, NEW)
    assert found.tokens_ZRT[0, :, :NEW].tolist() == expected


HOW = {
    "temperature": [1.0, 0.0, 0.7, 2.0], "top_k": [0, 3, 4, 0],
    "top_p": [1, 1, 0.9, 0.5], "seed": [7, 0, 7, 2**32 - 1],
}  # fmt: skip


@pytest.mark.parametrize("name", slow_unless(DECODERS, ("gemma3",)))
def test_a_batch_says_what_each_of_its_requests_says_alone(name):
    model = made(name)[0]
    batch, lengths = rows_of(model)
    together = said(name, batch, lengths, asked(4, [6, 3, 5, 6], **HOW))
    assert together.counts_ZR.tolist() == [[6, 3, 5, 6]]
    for row in (1, 2):
        one = rows_of(model, [ROWS[row]], room=3)
        how = {field: values[row] for field, values in HOW.items()}
        alone = said(name, *one, asked(1, [6, 3, 5, 6][row], **how))
        assert alone.tokens_ZRT[0, 0].tolist() == together.tokens_ZRT[0, row].tolist()


def test_another_seed_says_something_else_and_the_same_one_the_same():
    batch, lengths = rows_of(made("gemma3")[0])
    told = [
        said("gemma3", batch, lengths, asked(4, NEW, temperature=3.0, seed=seed))
        for seed in (1, 1, 2)
    ]
    first, again, other = (t.tokens_ZRT.tolist() for t in told)
    assert first == again
    assert first != other


def test_a_row_ends_before_its_stop_id_and_the_others_go_on():
    batch, lengths = rows_of(made("gemma3")[0])
    free = said("gemma3", batch, lengths, asked(4, NEW)).tokens_ZRT[0].tolist()
    stop = free[1][2]
    found = said("gemma3", batch, lengths, asked(4, NEW, stops=(-1, stop)))
    for row in range(4):
        at = free[row].index(stop) if stop in free[row][:NEW] else NEW
        assert found.counts_ZR[0, row] == at
        assert (found.stop_ZR[0, row] >= 0) == (at < NEW)
        assert found.tokens_ZRT[0, row].tolist() == free[row][:at] + [0] * (8 - at)


def test_who_watches_sees_all_that_was_said_and_ends_rows(monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 2)
    batch, lengths = rows_of(made("gemma3")[0])
    free = said("gemma3", batch, lengths, asked(4, NEW))
    seen = []

    def watch(found):
        seen.append((found.tokens_ZRT.copy(), found.counts_ZR.copy()))
        return found.counts_ZR >= np.array([[9, 3, 9, 9]])

    found = said("gemma3", batch, lengths, asked(4, NEW), watch=watch)
    assert found.counts_ZR.tolist() == [[6, 3, 6, 6]]
    assert [counts[0, 0] for _, counts in seen] == [1, 3, 5, 6]
    for tokens, counts in seen:
        for row in range(4):
            count = counts[0, row]
            there = tokens[0, row, :count].tolist()
            assert there == free.tokens_ZRT[0, row, :count].tolist()


def test_an_empty_row_is_left_alone_and_changes_nothing():
    batch, lengths = rows_of(made("gemma3")[0])
    found = said("gemma3", batch, lengths, asked(4, NEW))
    more = batch_lib.padded(batch, 2, 5, 4)
    ask = asked(5, NEW)
    ask = jax.tree.map(lambda x: np.concatenate([x, x * 0]), ask)
    ask.new_tokens_ZR[0, 4] = 0
    lengths_ZR = np.array([[*lengths, 0], [0] * 5], np.int32)
    _, _, functions, weights = made("gemma3")
    wide = speaker.speak(functions, weights, more, lengths_ZR, ask, 8)
    np.testing.assert_array_equal(wide.tokens_ZRT[:1, :4], found.tokens_ZRT)
    assert not wide.tokens_ZRT[:, 4].any()
    assert not wide.tokens_ZRT[1].any()
    assert wide.counts_ZR.tolist() == [[6, 6, 6, 6, 0], [0] * 5]


MESH_DEFAULT = ("gemma3",)
EXPERTLY = [name for name in DECODERS if "moe" in DECODERS[name]]


def mesh_of(name: str) -> config.Mesh:
    return config.Mesh(1, 2, 2, 2) if name in EXPERTLY else config.Mesh(2, 2, 2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(
            (name, mesh_of(name))
            if name in MESH_DEFAULT
            else pytest.param(name, mesh_of(name), marks=pytest.mark.slow)
            for name in DECODERS
        ),
        # Rows are whole here on all devices of the axis.
        pytest.param("crossed", config.Mesh(2, 2, 1, 1, 2), marks=pytest.mark.slow),
        pytest.param("experts", config.Mesh(1, 2, 1, 2, 2), marks=pytest.mark.slow),
    ],
)
def test_a_mesh_of_8_devices_says_what_one_device_says(name, shape):
    model, params, _, _ = made(name)
    batch, lengths = rows_of(model)
    alone = said(name, batch, lengths, asked(4, NEW, **HOW))
    mesh = sharding.make_mesh(shape)
    functions = speaker.make(model, mesh)
    placed = jax.device_put(params, sharding.state_shardings(params, mesh))
    weights = functions.prepare(placed)
    wide = batch_lib.padded(batch, 2, 4, 4)
    tokens = wide.tokens_ZRT.shape[2]
    wide = batch_lib.cut(wide, tokens + tokens % shape.context)
    wide = jax.device_put(wide, sharding.batch_shardings(mesh))
    ask = jax.tree.map(lambda x: np.concatenate([x, x * 0]), asked(4, NEW, **HOW))
    lengths_ZR = np.array([lengths, [0] * 4], np.int32)
    found = speaker.speak(functions, weights, wide, lengths_ZR, ask, 8)
    np.testing.assert_array_equal(found.tokens_ZRT[:1], alone.tokens_ZRT)
    prompts, hidden = functions.read(weights, wide, lengths_ZR)
    kept = prompts.layers[0].row.k_ZRKSH
    heads = max(1, model.decoder.kv_heads // mesh.shape["tensor"])
    assert kept.sharding.shard_shape(kept.shape)[:3] == (1, 2, heads)
    ask = continuations([*TEXTS, *[[[]]] * 4], 16, groups=2)
    wide_loss = functions.score(weights, prompts, hidden, ask)
    _, _, one, weights = made(name)
    read = one.read(weights, batch, lengths_ZR[:1])
    loss = one.score(weights, *read, continuations(TEXTS, 16))
    here = ask.segments_ZRT[:1] > 0
    np.testing.assert_allclose(
        np.asarray(wide_loss.nll_ZRT)[:1][here], loss.nll_ZRT[here], 1e-4, 1e-5
    )


def test_nothing_is_compiled_again_for_other_lengths_seeds_and_stops():
    model, _, _, weights = made("gemma3")
    functions = speaker.make(model)

    def run(rows, ask):
        batch, lengths = rows_of(model, rows, 0)
        batch = batch_lib.cut(batch_lib.padded(batch, 1, 4, 3), 16)
        return speaker.speak(
            functions, weights, batch, np.array([lengths], np.int32), ask, 8
        )

    def compiled():
        return [
            f._cache_size() for f in (functions.read, functions.begin, functions.go_on)
        ]

    run(ROWS, asked(4, NEW, **HOW))
    assert compiled() == [1, 1, 1]
    longer = [[[*range(1, 12)]], [[1]], [[2, "slot 1"]], [[4, 4, 4]]]
    other = {"temperature": 0.9, "top_k": [1, 2, 3, 4], "top_p": 0.4, "seed": 9}
    run(longer, asked(4, [2, 8, 1, 1], stops=(5,), **other))
    assert compiled() == [1, 1, 1]


@pytest.mark.parametrize("dtype", slow_unless(["bfloat16", "float32"], ["float32"]))
def test_a_memory_of_either_dtype_says_nearly_what_the_other_says(dtype):
    model, _, _, weights = made("gemma3")
    functions = speaker.make(model, dtype=dtype)
    batch, lengths = rows_of(model)
    lengths_ZR = np.array([lengths], np.int32)
    prompts, hidden = functions.read(weights, batch, lengths_ZR)
    speech = functions.begin(weights, hidden, asked(4, NEW), 8, "greedy")
    for kept in (prompts.layers[0].row, speech.kept[0]):
        assert kept.k_ZRKSH.dtype == kept.v_ZRKSH.dtype == dtype
    ask = continuations([[[3, 4, 5]], [[6]], [[7, 8]], [[9]]], 4)
    exact = made("gemma3")[2].score(
        weights, *made("gemma3")[2].read(weights, batch, lengths_ZR), ask
    )
    found = functions.score(weights, prompts, hidden, ask)
    error = np.abs(found.nll_ZRT - exact.nll_ZRT)[ask.segments_ZRT > 0].max()
    assert error < (0.05 if dtype == "bfloat16" else 1e-5)


@pytest.mark.parametrize("field", ["bfloat16"])
def test_activations_of_half_precision_keep_half_the_bytes(field):
    model = decoder_of("dense")
    model.dtype = field
    functions = speaker.make(model)
    weights = functions.prepare(made("dense")[1])
    assert weights["embedding"].dtype == field
    kernels = optim.flatten(weights["layers"][0])
    assert kernels["attention/query/kernel"].dtype == field
    assert kernels["norm_mlp/scale"].dtype == "float32"
    batch, lengths = rows_of(model)
    prompts, _ = functions.read(weights, batch, np.array([lengths], np.int32))
    assert prompts.layers[0].row.k_ZRKSH.dtype == field


def test_a_token_is_added_to_what_was_said_without_a_copy_of_it():
    model, _, functions, weights = made("dense")
    batch, lengths = rows_of(model)
    asks = asked(4, NEW)
    prompts, hidden = functions.read(weights, batch, np.array([lengths], np.int32))
    speech = functions.begin(weights, hidden, asks, 8, "greedy")
    arguments = (weights, prompts, speech, asks, np.int32(NEW), "greedy")
    program = functions.go_on.lower(*arguments).compile().as_text()
    kept = "f32[" + ",".join(map(str, speech.kept[0].k_ZRKSH.shape)) + "]"
    assert re.search(rf"{re.escape(kept)}\S* dynamic-update-slice\(", program)
    assert not re.search(rf"{re.escape(kept)}\S* copy\(", program)


def continuations(
    rows: list[list[list[int]]], tokens: int, groups: int = 1
) -> speaker.Continuations:
    """Continuations of each row's prompt, packed."""
    arrays = [np.zeros((len(rows), tokens), np.int32) for _ in range(3)]
    ids, segments, offsets = arrays
    for row, texts in enumerate(rows):
        at = 0
        for number, text in enumerate(texts, 1):
            here = (row, slice(at, at + len(text)))
            ids[here], segments[here] = text, number
            offsets[here] = np.arange(len(text))
            at += len(text)
    return speaker.Continuations(*(x.reshape(groups, -1, tokens) for x in arrays))


TEXTS = [
    [[3, 4, 5], [6], [7, 8, 9, 10, 11]],
    [[6, 6, 6, 6]],
    [[7, 8], [7, 9], [7]],
    [[9, 1, 2]],
]


@pytest.mark.parametrize("name", slow_unless(DECODERS, DEFAULT))
def test_a_continuations_loss_is_that_of_training(name):
    model, params, functions, weights = made(name)
    batch, lengths = rows_of(model)
    lengths_ZR = np.array([lengths], np.int32)
    read = functions.read(weights, batch, lengths_ZR)
    found = functions.score(weights, *read, continuations(TEXTS, 12))
    apply = jax.jit(vlm.build(model).apply)
    cap = model.decoder.logit_softcap
    for row, texts in enumerate(TEXTS):
        at = 0
        for text in texts:
            whole = jax.tree.map(np.array, batch)
            targets = np.zeros_like(whole.tokens_ZRT)
            for i, token in enumerate(text):
                place = lengths[row] + i
                uncached.write(whole, row, place, token)
                targets[0, row, place - 1] = token
            outputs = apply(params, whole)
            loss = cross_entropy.chunked(*outputs[:2], jnp.asarray(targets), 99, cap)
            here = (0, row, slice(lengths[row] - 1, lengths[row] - 1 + len(text)))
            ours = (0, row, slice(at, at + len(text)))
            np.testing.assert_allclose(
                found.nll_ZRT[ours], loss.nll_ZRT[here], rtol=1e-4, atol=1e-5
            )
            assert found.hit_ZRT[ours].tolist() == loss.hit_ZRT[here].tolist()
            at += len(text)


def test_what_is_said_by_the_most_likely_token_is_a_hit_throughout():
    _, _, functions, weights = made("gemma3")
    batch, lengths = rows_of(made("gemma3")[0])
    told = said("gemma3", batch, lengths, asked(4, NEW)).tokens_ZRT[0, :, :NEW]
    wrong = told.copy()
    wrong[:, 3] = (wrong[:, 3] + 1) % model_samples.VOCAB
    read = functions.read(weights, batch, np.array([lengths], np.int32))
    texts = [[a.tolist(), b.tolist()] for a, b in zip(told, wrong)]
    hits = functions.score(weights, *read, continuations(texts, 12)).hit_ZRT[0]
    assert hits[:, :NEW].all()
    assert not hits[:, NEW + 3].any()


@pytest.mark.parametrize("new_tokens", [0, 9])
def test_more_than_the_room_is_refused_with_its_numbers(new_tokens):
    batch, lengths = rows_of(made("gemma3")[0])
    with pytest.raises(ValueError, match=f"new_tokens={new_tokens}: .* 1 and 8"):
        said("gemma3", batch, lengths, asked(4, new_tokens))
