import jax
import jax.numpy as jnp
import numpy as np
import pytest
from short_form import slow_unless

from mmjax.ops import experts, moe, pointwise

TOKENS, TOP, EXPERTS, WIDTH, HIDDEN = 40, 2, 5, 6, 8


def made(seed=0, tokens=TOKENS):
    """Tokens, logits of the router, kernels, and which tokens are no padding."""
    keys = jax.random.split(jax.random.key(seed), 6)
    normal = jax.random.normal
    kernels = experts.Kernels(
        0.3 * normal(keys[0], (EXPERTS, WIDTH, HIDDEN)),
        0.3 * normal(keys[1], (EXPERTS, WIDTH, HIDDEN)),
        0.3 * normal(keys[2], (EXPERTS, HIDDEN, WIDTH)),
    )
    x_JD, logits_JX = normal(keys[3], (tokens, WIDTH)), normal(keys[4], (tokens, 5))
    return x_JD, 2 * logits_JX, kernels, jax.random.bernoulli(keys[5], 0.8, (tokens,))


def every_expert_for_every_token(x_JD, logits_JX, kernels, real_J):
    """The sum over experts, with weights that are 0 but for the best two's shares."""
    p_JX = jax.nn.softmax(logits_JX)
    second = jnp.sort(p_JX, axis=-1)[:, -TOP]
    kept_JX = jnp.where((p_JX >= second[:, None]) & real_J[:, None], p_JX, 0)
    weight_JX = kept_JX / jnp.maximum(kept_JX.sum(-1, keepdims=True), 1e-9)
    total = jnp.zeros_like(x_JD)
    for expert, (gate, up, down) in enumerate(zip(*kernels, strict=True)):
        hidden = jax.nn.silu(x_JD @ gate) * (x_JD @ up)
        total += weight_JX[:, expert, None] * (hidden @ down)
    return total


def dropless(backend):
    def apply(x_JD, logits_JX, kernels, real_J):
        routes = moe.route(logits_JX, TOP)
        activate = pointwise.GATES["silu"]
        return experts.dropless(x_JD, routes, real_J, kernels, activate, backend)

    return apply


@pytest.mark.parametrize("backend", experts.BACKENDS)
@pytest.mark.parametrize("tokens", slow_unless([3, TOKENS], [TOKENS]))
def test_dropless_is_the_sum_over_all_experts_in_values_and_gradients(backend, tokens):
    arguments = made(tokens=tokens)

    def both(function):
        def total(x, logits, kernels):
            return jnp.sum(jnp.sin(function(x, logits, kernels, arguments[-1])))

        value = jax.jit(function)(*arguments)
        return value, jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arguments[:-1])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5),
        both(dropless(backend)),
        both(every_expert_for_every_token),
    )


@pytest.mark.parametrize("backend", experts.BACKENDS)
def test_padding_reaches_no_expert_and_gets_zeros(backend):
    x_JD, logits_JX, kernels, real_J = made()
    apply = jax.jit(dropless(backend))
    before = apply(x_JD, logits_JX, kernels, real_J)
    np.testing.assert_array_equal(before[~real_J], 0)
    noise = jnp.where(real_J[:, None], 0, 100.0)
    after = apply(x_JD + noise, logits_JX - noise, kernels, real_J)
    np.testing.assert_array_equal(before, after)


def test_slices_of_the_experts_add_up_to_all_of_them():
    x_JD, logits_JX, kernels, real_J = made()
    routes = moe.route(logits_JX, TOP)
    total = 0.0
    for part in slice(0, 2), slice(2, 5):
        held = jax.tree.map(lambda kernel, part=part: kernel[part], kernels)
        shifted = routes._replace(expert=routes.expert - part.start)
        total += experts.dropless(
            x_JD, shifted, real_J, held, pointwise.GATES["silu"], "blocked"
        )
    whole = dropless("blocked")(x_JD, logits_JX, kernels, real_J)
    np.testing.assert_allclose(total, whole, atol=1e-5)


@pytest.mark.parametrize("block", [1, 4])
def test_runs_hold_each_expert_s_choices_once_and_are_whole_blocks(block):
    _, logits_JX, _, real_J = made()
    routes = moe.route(logits_JX, TOP)
    slots = moe.places(routes.expert, real_J, EXPERTS, 0, block)
    size, ends = len(slots.choice_M), np.cumsum(slots.runs_X)
    assert size % block == 0
    assert ends[-1] <= size
    for token, choice in np.ndindex(TOKENS, TOP):
        slot = slots.slot_JA[token, choice]
        if not real_J[token]:
            assert slot == size
            continue
        assert slots.choice_M[slot] == token * TOP + choice
        assert np.searchsorted(ends, slot, "right") == routes.expert[token, choice]
    assert np.all(np.array(slots.runs_X) % block == 0)
    assert (slots.choice_M < TOKENS * TOP).sum() == TOP * real_J.sum()


def test_first_choices_come_before_second_ones_and_early_tokens_before_late_ones():
    # Token 2 is padding. Expert 0: first choice of 0, 3 and 4, second choice of 1.
    expert_JA = jnp.array([[0, 1], [1, 0], [0, 1], [0, 1], [0, 2]])
    real_J = jnp.array([True, True, False, True, True])
    slots = moe.places(expert_JA, real_J, 3, room=2)
    none = 6  # slots in all
    np.testing.assert_array_equal(
        slots.slot_JA, [[0, 3], [2, none], [none, none], [1, none], [none, 4]]
    )
    empty = 10
    np.testing.assert_array_equal(slots.choice_M, [0, 6, 2, 1, 9, empty])


def test_a_dropped_choice_adds_nothing_and_its_slot_has_no_gradient():
    x_JD = jnp.eye(5, WIDTH)
    slots = moe.places(jnp.zeros((5, 1), jnp.int32), jnp.ones(5, bool), 1, room=3)
    weight = jnp.full((5, 1), 2.0)

    def through(x_JD):
        return moe.combine(moe.dispatch(x_JD, slots), slots, weight)

    np.testing.assert_array_equal(through(x_JD)[:3], 2 * x_JD[:3])
    np.testing.assert_array_equal(through(x_JD)[3:], 0)
    gradient = jax.grad(lambda x: through(x).sum())(x_JD)
    np.testing.assert_array_equal(gradient[:3], 2)
    np.testing.assert_array_equal(gradient[3:], 0)


def test_losses_are_those_computed_by_hand():
    # Two groups of one row; logits are logs of tenths, so log-partitions are log 10.
    share = [[[6, 3, 1], [5, 1, 4], [1, 7, 2]], [[1, 3, 6], [9, 9, 9], [9, 9, 9]]]
    logits = jnp.log(jnp.array(share, jnp.float32))[:, None]
    real = jnp.array([[[True, True, True]], [[True, False, False]]])
    sums = moe.router_sums(logits, moe.route(logits, 2), real)
    # Group 1: first choices 2/3, 1/3, 0; mean shares 12/30, 11/30, 7/30.
    # Group 2, of one token: all first choices to expert 2, its share 6/10.
    first = 3 * (2 / 3 * 12 / 30 + 1 / 3 * 11 / 30)
    np.testing.assert_allclose(sums.balance_L, 3 * first + 1 * 3 * 0.6, rtol=1e-6)
    np.testing.assert_allclose(sums.z_L, 4 * np.log(10) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(sums.load_LX, [2, 3, 3])
    weight = moe.route(logits, 2).weight
    np.testing.assert_allclose(weight[0, 0, 1], [5 / 9, 4 / 9], rtol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "k", "factor", "slots"),
    [(4096, 2, 2.0, 256), (10, 2, 1.0, 1), (65, 1, 1.0, 2)],
)
def test_an_even_share_is_rounded_up(tokens, k, factor, slots):
    assert moe.capacity(tokens, k, 64, factor) == slots
