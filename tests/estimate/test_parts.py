"""Where the time goes: every second is counted once, and where it belongs."""

import estimate_samples
import pytest

from mmjax import scopes
from mmjax.estimate import parts
from mmjax.estimate.parts import Component
from mmjax.estimate.timeline import CORE, Event

CYCLE, PASSES = estimate_samples.CYCLE, estimate_samples.PASSES


@pytest.fixture(scope="module")
def played():
    return estimate_samples.played()


def test_kinds_add_up_to_the_step(played):
    kinds = parts.by_kind(played.events)
    assert sum(kinds.values()) == pytest.approx(played.seconds)
    assert kinds["matmul"] == pytest.approx(PASSES * 90_000 * CYCLE)
    assert kinds["attention"] == pytest.approx(PASSES * 10_000 * CYCLE)
    outside = 16_000
    assert kinds["elementwise"] == pytest.approx((PASSES * 5000 + outside) * CYCLE)
    assert kinds["collectives"] == 0  # it is done long before


def test_components_and_passes_add_up_to_the_step(played):
    found = parts.by_component(played.events)
    total = sum(seconds for passes in found.values() for seconds in passes.values())
    assert total == pytest.approx(played.seconds)
    assert next(iter(found)) == Component("decoder", "mlp")  # the longest comes first
    assert found[Component("decoder", "mlp")] == {
        "forward": pytest.approx(PASSES * 40_000 * CYCLE),
        "again": pytest.approx(PASSES * 30_000 * CYCLE),
    }
    assert set(found) == {
        Component("decoder", "mlp"),
        Component("decoder", "projections"),
        Component("decoder", "attention"),
        Component("decoder", "norms"),
        Component("loss", ""),
        Component("update", ""),
    }


@pytest.mark.parametrize(
    ("scope", "where", "direction"),
    [
        (
            "jit(train_step)/jvp(VLM)/vit/while/body/closed_call/blocks/attention/out/"
            "dot_general",
            ("vit", "projections"),
            "forward",
        ),
        (
            "jit(train_step)/transpose(jvp(VLM))/decoder/while/body/closed_call/"
            "checkpoint/rematted_computation/blocks/attention/mul",
            ("decoder", "attention"),
            "again",
        ),
        (
            "jit(train_step)/transpose(jvp(VLM))/decoder.embed/scatter-add",
            ("decoder", "embed"),
            "backward",
        ),
        (
            "jit(train_step)/jvp(VLM)/vit/while/body/dynamic_slice",
            ("vit", "loop"),
            "forward",
        ),
        (
            "jit(train_step)/jvp(VLM)/decoder/while/body/blocks/moe/gate/ragged_dot",
            ("decoder", "moe"),
            "forward",
        ),
        ("jit(train_step)/jvp()/while/body/exp", ("loss", ""), "forward"),
        ("jit(train_step)/transpose(jvp(VLM))/vmap()/scatter-add", ("splice", ""),
         "backward"),
        ("jit(train_step)/transpose(jvp(loss))/while/body/exp", ("loss", ""),
         "backward"),
        ("jit(train_step)/jvp(VLM)/splice/vmap()/gather", ("splice", ""), "forward"),
        ("jit(train_step)/optimizer/sqrt", ("update", ""), "update"),
        ("jit(train_step)/sqrt", ("update", ""), "update"),
        ("", ("other", ""), "update"),
    ],
)  # fmt: skip
def test_a_path_of_modules_tells_part_and_pass(scope, where, direction):
    assert parts.component(scope) == where
    assert scopes.direction(scope) == direction


def test_the_heaviest_operations_come_first_and_sum_over_passes(played):
    first, second, third = parts.heaviest(played.events, 3)
    assert first.seconds == pytest.approx(PASSES * 40_000 * CYCLE)
    assert first.flops == PASSES * 2 * 1024**3
    assert first.seconds > second.seconds > third.seconds


def test_hidden_collectives_are_told_apart_from_what_the_core_waits_for(played):
    gather = 2**20 * 3 / 4 / (2 * 90e9 * 0.9) + 2e-6
    found = parts.of_collectives(played.events)
    assert found == {"all-gather": pytest.approx(PASSES * gather)}


def test_an_attention_kernel_counts_as_attention():
    event = Event(CORE, "attention", 0.0, 2.0, 3.0, 7.0, "splash", "")
    assert parts.by_kind([event])["attention"] == 6.0
    assert parts.executed([event]) == 21.0
    assert parts.executed([event], "matmul") == 0
