"""`State`, the train step where it changes hands, and the eval step.

Losses are sums over tokens (or pairs, or patches: `objectives`) divided by the
count of the whole batch, in float32, so microbatches, devices and packed rows add
exactly.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int32, PRNGKeyArray, Scalar

from mmjax import objectives, optim, scopes, sharding
from mmjax.batch import PAD_SEGMENT, Batch
from mmjax.config import Config
from mmjax.models import products
from mmjax.models.vlm import Model
from mmjax.objectives import Sums
from mmjax.ops.cross_entropy import TokenLoss
from mmjax.ops.moe import RouterSums

Metrics = dict[str, Array]
TrainStep = Callable[["State", Batch], tuple["State", Metrics]]


class State(NamedTuple):
    """Everything that training changes."""

    step: Int32[Array, ""]  # updates done
    params: optim.Params
    opt_state: Any  # moments of the trainable parameters only


def learning_rate(config: Config) -> optim.Schedule:
    """The rate of each step of the run."""
    o = config.optim
    return optim.schedule(o.peak_lr, o.final_lr_ratio, o.warmup_steps, config.steps)


def optimizer(config: Config) -> optax.GradientTransformation:
    """The optimizer of the trainable parameters."""
    return optim.adamw(
        learning_rate(config),
        b1=config.optim.b1,
        b2=config.optim.b2,
        eps=config.optim.eps,
        weight_decay=config.optim.weight_decay,
        clip_norm=config.optim.clip_norm,
        rules=lr_rules(config),
        moments_dtype=config.optim.moments_dtype,
    )


def lr_rules(config: Config) -> list[tuple[str, float]]:
    """(pattern, multiplier of the rate), the first that matches counts."""
    return [(rule.pattern, rule.multiplier) for rule in config.optim.lr_rules]


def _fresh(model: Model, config: Config, key: PRNGKeyArray) -> State:
    params = model.init(key)
    patterns = [pattern for pattern, _ in lr_rules(config)]
    optim.require_matches("optim.lr_rules", patterns, optim.flatten(params))
    trainable, _ = optim.partition(params, config.optim.frozen)
    return State(jnp.zeros((), jnp.int32), params, optimizer(config).init(trainable))


def abstract_state(model: Model, config: Config, mesh: Mesh) -> State:
    """The state's shapes, dtypes and shardings as `jax.ShapeDtypeStruct`s.

    Raises ValueError for a pattern of config.optim that matches no parameter, and for a
    parameter that the sharding table doesn't know.
    """
    shapes = jax.eval_shape(lambda key: _fresh(model, config, key), jax.random.key(0))
    opt_state = as_moments(shapes.opt_state, config, mesh)
    return sharding.placed(shapes, mesh)._replace(opt_state=opt_state)


def as_moments(tree: Any, config: Config, mesh: Mesh) -> Any:
    """Moments, gradients or updates as `ShapeDtypeStruct`s with their shardings.

    They lie as parameters do, or with `config.optim.zero1` in smaller slices.
    """
    placed = sharding.placed(tree, mesh)
    return sharding.sliced(placed) if config.optim.zero1 else placed


def init_state(model: Model, config: Config, mesh: Mesh, key: PRNGKeyArray) -> State:
    """A fresh state, made on the devices shard by shard; equal on every mesh."""
    placed = jax.tree.map(lambda x: x.sharding, abstract_state(model, config, mesh))
    init = jax.jit(lambda key: _fresh(model, config, key), out_shardings=placed)
    return init(key)


def make_train_step(model: Model, config: Config, mesh: Mesh) -> Any:
    """The jitted `TrainStep`: (state, batch) -> (next state, metrics).

    The state is donated. The metrics are replicated arrays that stay on the devices:
    `loss_sum_by_source`, `loss_tokens_by_source` (S, sources of the config),
    `z_loss_sum`, `grad_norm` (before clipping, of trainable parameters), `param_norm`,
    `learning_rate`, and the counts `images`, `slots`, `tokens` (not padding) and
    `positions`; of layers with experts, in their order, sums over tokens:
    `router_balance_by_layer`, `router_z_by_layer`, `router_dropped_by_layer` and
    `router_load_by_layer` ([L, X], choices of each expert). Nothing that is not finite
    is skipped or hidden: it shows in them.
    """
    placed = jax.tree.map(lambda x: x.sharding, abstract_state(model, config, mesh))
    gradients = _make_gradients(model, config, mesh)
    rate, update = learning_rate(config), optimizer(config).update

    def train_step(state: State, batch: Batch) -> tuple[State, Metrics]:
        trainable, frozen = optim.partition(state.params, config.optim.frozen)
        with (
            jax.sharding.use_abstract_mesh(mesh.abstract_mesh),
            products.summed_in(config.optim.reduce_dtype),
        ):
            grads, sums = gradients(trainable, frozen, batch, state.step)
        with jax.named_scope(scopes.OPTIMIZER):
            if config.optim.zero1:
                # The barrier makes slices of their own, all that is kept of the old
                # parameters. Without it, XLA keeps whole copies for the update to read.
                trainable = _laid_as_moments(trainable, config, mesh)
                trainable = jax.lax.optimization_barrier(trainable)
            updates, opt_state = update(grads, state.opt_state, trainable)
            new: Any = optax.apply_updates(trainable, updates)  # pyright: ignore[reportArgumentType]
            params = optim.merge(_laid_as_moments(new, config, mesh), frozen)
        with jax.named_scope(scopes.METRICS):
            metrics = {
                "loss_sum_by_source": sums.loss_S,
                "loss_tokens_by_source": sums.tokens_S,
                "z_loss_sum": sums.z_loss,
                "grad_norm": optax.global_norm(grads),
                "param_norm": optax.global_norm(params),
                "learning_rate": rate(state.step),
                **_counts(batch),
                **_of_routers(sums.router),
            }
        return State(state.step + 1, params, opt_state), metrics

    return jax.jit(
        train_step,
        in_shardings=(placed, sharding.batch_shardings(mesh)),
        out_shardings=(placed, NamedSharding(mesh, PartitionSpec())),
        donate_argnums=0,
    )


def _laid_as_moments(tree: Any, config: Config, mesh: Mesh) -> Any:
    placed = jax.tree.map(lambda x: x.sharding, as_moments(tree, config, mesh))
    return jax.lax.with_sharding_constraint(tree, placed)


def _counts(batch: Batch) -> Metrics:
    segments_ZRT, real_ZC = jnp.asarray(batch.segments_ZRT), jnp.asarray(batch.real_ZC)
    return {
        "images": real_ZC.sum(),
        "slots": jnp.int32(real_ZC.size),
        "tokens": (segments_ZRT != PAD_SEGMENT).sum(),
        "positions": jnp.int32(segments_ZRT.size),
    }


def _of_routers(sums: RouterSums | None) -> Metrics:
    if sums is None:
        return {}
    return {
        "router_balance_by_layer": sums.balance_L,
        "router_z_by_layer": sums.z_L,
        "router_dropped_by_layer": sums.dropped_L,
        "router_load_by_layer": sums.load_LX,
    }


def _make_gradients(model: Model, config: Config, mesh: Mesh) -> Callable:
    """(trainable, frozen, batch, step) -> (gradients of the mean loss, sums)."""
    objective = objectives.of(model, config, len(config.data.sources))
    accumulate, moe = config.optim.accumulate, config.model.decoder.moe

    def loss(trainable, frozen, part: Any, things, tokens) -> tuple[Scalar, Sums]:
        sums = objective.sums(optim.merge(trainable, frozen), *part)
        z_loss = config.model.z_loss * sums.z_loss
        total = (sums.loss_S.sum() + z_loss) / jnp.maximum(things, 1)
        if sums.router is not None:  # a mean over tokens, a sum over layers
            balance = moe.balance_loss * sums.router.balance_L.sum()
            spread = moe.z_loss * sums.router.z_L.sum()
            total += (balance + spread) / jnp.maximum(tokens, 1)
        return total, sums

    def gradients(trainable, frozen, batch: Batch, step: Array) -> tuple[Any, Sums]:
        drawn = objective.draw(batch, step)
        things = objective.things(batch, drawn)
        tokens = (jnp.asarray(batch.segments_ZRT) != PAD_SEGMENT).sum()

        def of(part: tuple[Batch, Any]) -> tuple[Any, Sums]:
            counts = things, tokens
            grads, sums = jax.grad(loss, has_aux=True)(trainable, frozen, part, *counts)
            return _laid_as_moments(grads, config, mesh), sums

        if accumulate == 1:
            return of((batch, drawn))
        parts = microbatches((batch, drawn), accumulate)
        shapes = jax.eval_shape(of, jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        def add(total, part):
            return jax.tree.map(jnp.add, total, of(part)), None

        return jax.lax.scan(add, zeros, parts)[0]

    return gradients


def microbatches(batch: Any, count: int) -> Any:
    """The batch as `count` batches of whole groups, on a new first axis.

    Arrays of its groups may stand beside it, in any tree.

    Microbatch i holds the groups i, i + count, i + 2 count, ...: an equal share of what
    each device of the `data` axis holds already, so nothing moves.
    """
    return jax.tree.map(
        lambda x: x.reshape(x.shape[0] // count, count, *x.shape[1:]).swapaxes(0, 1),
        batch,
    )


def make_eval_step(model: Model, config: Config, mesh: Mesh) -> Any:
    """The jitted eval step: (params, batch) -> TokenLoss, sharded as the rows are."""

    def eval_step(params: Any, batch: Batch) -> TokenLoss:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return objectives.token_losses(model, config, params, batch)[0]

    return of_params(eval_step, model, config, mesh, sharding.TOKENS)


def of_params(
    function: Callable, model: Model, config: Config, mesh: Mesh, out: PartitionSpec
) -> Any:
    """The jitted function of (params, batch), laid out as in training."""
    placed = jax.tree.map(
        lambda x: x.sharding, abstract_state(model, config, mesh).params
    )
    return jax.jit(
        function,
        in_shardings=(placed, sharding.batch_shardings(mesh)),
        out_shardings=NamedSharding(mesh, out),
    )
