"""Names in the paths of a compiled step's operations, and how people read such a path.

A path such as `jit(train_step)/jvp(VLM)/decoder/while/body/closed_call/blocks/mlp/up/
dot_general` has the names of modules, those below, and jax's own.
"""

import re

LOSS = "loss"  # all that follows the model's outputs
SPLICE = "splice"
OPTIMIZER = "optimizer"
METRICS = "metrics"

_MACHINERY = {"while", "body", "closed_call", "checkpoint", "rematted_computation"}


def direction(scope: str) -> str:
    """The pass of an operation: forward, again (recomputed), backward or update."""
    if "rematted_computation" in scope:
        return "again"
    if "transpose(" in scope:
        return "backward"
    return "forward" if "jvp(" in scope else "update"


def short(scope: str) -> str:
    """A path of modules for people: the pass, then names without jax's machinery."""
    names = []
    for name in scope.split("/"):
        wrapped = re.fullmatch(r"[\w(]*\((\w*)\)+", name)
        if wrapped and wrapped[1] == LOSS:
            names.append(LOSS)
        elif not wrapped and name not in _MACHINERY:
            names.append(name)
    return f"{direction(scope)}: {'/'.join(names)}"
