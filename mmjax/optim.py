"""AdamW with decoupled decay, its schedule, and which parameters it touches how.

A parameter is known by its path, the keys of the nested dict joined by slashes:
`decoder/blocks/mlp/up/kernel`. What is said of parameters (frozen, rate) is said by
regular expressions that are searched in that path.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, BFloat16, Float32, PRNGKeyArray, Scalar, ScalarLike

Params = dict[str, Any]  # nested dicts of arrays, or of anything that stands for one
Schedule = Callable[[ScalarLike], Scalar]

# The whole rule of decay: matrices and tables shrink. Norms, biases, positions and
# learned queries end in other names. (Not told by rank: scanned norms are [L, D].)
DECAYED = re.compile(r"(^|/)(kernel|embedding|unembed)$")


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of any tree by path, in the tree's own order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(keys, simple=True, separator="/"): leaf
        for keys, leaf in leaves
    }


def unflatten(leaves: Mapping[str, Any]) -> Params:
    """The nested dict that `flatten` took apart."""
    params: Params = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return params


def partition(params: Params, frozen: Sequence[str]) -> tuple[Params, Params]:
    """Splits into (trainable, frozen): two nested dicts that share no leaf.

    Raises ValueError for a pattern that matches no path and where nothing is left to
    train.
    """
    leaves = flatten(params)
    require_matches("optim.frozen", frozen, leaves)
    still = {path for path in leaves if any(re.search(p, path) for p in frozen)}
    if len(still) == len(leaves):
        raise ValueError(f"optim.frozen={tuple(frozen)}: leaves no parameter to train")
    trainable = {path: leaf for path, leaf in leaves.items() if path not in still}
    return unflatten(trainable), unflatten({path: leaves[path] for path in still})


def merge(trainable: Params, frozen: Params) -> Params:
    """The tree that `partition` split."""
    return unflatten(flatten(trainable) | flatten(frozen))


def require_matches(name: str, patterns: Sequence[str], paths: Mapping) -> None:
    """Raises ValueError, naming the field, for a pattern that matches no path."""
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in paths):
            raise ValueError(f"{name}: {pattern!r} matches no parameter")


def decays(path: str) -> bool:
    """Whether weight decay shrinks this parameter."""
    return DECAYED.search(path) is not None


def multiplier(path: str, rules: Sequence[tuple[str, float]]) -> float:
    """The parameter's share of the learning rate: of the first rule that matches."""
    return next((value for pattern, value in rules if re.search(pattern, path)), 1.0)


def schedule(peak: float, final_ratio: float, warmup: int, steps: int) -> Schedule:
    """Step (counted from 0) -> learning rate, over a run of `steps` updates.

    Rises linearly to `peak`, reached by update number `warmup`; then falls as half a
    cosine to `final_ratio * peak`, reached by the last update.
    """

    def rate(step: ScalarLike) -> Scalar:
        update = jnp.asarray(step, jnp.float32) + 1
        rising = update / max(warmup, 1)
        done = jnp.clip((update - warmup) / max(steps - warmup, 1), 0, 1)
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * done))
        falling = final_ratio + (1 - final_ratio) * cosine
        return peak * jnp.where(update < warmup, rising, falling)

    return rate


def adamw(
    rate: Schedule,
    *,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    clip_norm: float,
    rules: Sequence[tuple[str, float]] = (),
    moments_dtype: str = "float32",
) -> optax.GradientTransformation:
    """AdamW over a tree of trainable float32 parameters.

    `weight_decay` multiplies the step's rate (0.1 here is MM1's 0.1 * eta, arXiv
    2403.09611, appendix B). `clip_norm` bounds the global norm of the gradients;
    `rules` are (pattern, multiplier of the rate) and act on decay too. `moments_dtype`
    is float32 or bfloat16 (see `halved`).
    """
    adam = optax.scale_by_adam(b1, b2, eps)

    def by_path(tree: Any, function: Callable[[str, Any], Any]) -> Params:
        return unflatten({p: function(p, leaf) for p, leaf in flatten(tree).items()})

    def scale(updates: Any, params: Any) -> Params:
        del params
        return by_path(updates, lambda path, leaf: leaf * multiplier(path, rules))

    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        halved(adam) if moments_dtype == "bfloat16" else adam,
        optax.add_decayed_weights(
            weight_decay, lambda params: by_path(params, lambda path, _: decays(path))
        ),
        optax.stateless(scale),
        optax.scale_by_learning_rate(rate),
    )


def halved(adam: optax.GradientTransformation) -> optax.GradientTransformation:
    """`optax.scale_by_adam` that keeps both moments in bfloat16, rounded by chance.

    Rounded to the nearest, a second moment could never fall with b2 > 1 - 2**-9: a step
    takes at most 1 - b2 of it, less than half of what tells two bfloat16 apart. Chance
    depends on the number of the update alone, so runs resume bit for bit.
    """

    def kept(state: Any) -> Any:
        leaves, tree = jax.tree.flatten((state.mu, state.nu))
        keys = jax.random.split(jax.random.key(state.count), len(leaves))
        mu, nu = tree.unflatten(map(rounded, leaves, keys))
        return state._replace(mu=mu, nu=nu)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        wide = state._replace(
            mu=optax.tree.cast(state.mu, jnp.float32),
            nu=optax.tree.cast(state.nu, jnp.float32),
        )
        updates, state = adam.update(updates, wide, params)
        return updates, kept(state)

    return optax.GradientTransformation(lambda params: kept(adam.init(params)), update)


def rounded(x: Float32[Array, "*axes"], key: PRNGKeyArray) -> BFloat16[Array, "*axes"]:
    """Each number becomes one of its two neighbours in bfloat16 by chance.

    The nearer one more often: on average it is x itself. What is not finite stays so.
    """
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + noise
    # bfloat16 is the upper half of a float32: what the noise carries into it counts.
    upper = (bits >> 16).astype(jnp.uint16)
    near = jax.lax.bitcast_convert_type(upper, jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), near, x.astype(jnp.bfloat16))
