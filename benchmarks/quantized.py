"""Predicts what quantized products save of an MLP of MM1-3B on a TPU; none is needed.

    python -m benchmarks.quantized --topology=v5p:2x2x1 --rows=16384 none int8

Two products, 2560 -> 6912 -> 2560, forward and backward on one chip that holds its
whole kernels, with all that it takes to quantize. Needs pip install 'mmjax[estimate]'.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from mmjax import hlo
from mmjax.estimate import compiling, parts, replay, topologies

WIDTH, HIDDEN = 2560, 6912


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", help="none, int8 or fp8")
    parser.add_argument("--topology", default="v5p:2x2x1")
    parser.add_argument("--rows", type=int, default=16384, help="tokens of the chip")
    parser.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.compile:
        compile_step(args.topology, args.rows, args.kinds[0])
        return
    compiling.require_compiler()
    for kind in args.kinds:
        print(f"{args.topology}, {args.rows} rows, {kind}: {told(args, kind)}")


def told(args: argparse.Namespace, kind: str) -> str:
    """The predicted time of a kind, and that of its products."""
    with tempfile.TemporaryDirectory() as folder:
        mine = [f"--topology={args.topology}", f"--rows={args.rows}", "--compile", kind]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.quantized", *mine],
            env=compiling.environment(compiling.dumping(pathlib.Path(folder))),
            check=True,
        )
        (program,) = pathlib.Path(folder).glob(f"*{compiling.PROGRAM}.txt")
        with program.open() as lines:
            module = hlo.parse(lines)
    found = replay.replay(module, topologies.parse(args.topology).generation)
    spent = parts.by_kind(found.events)
    return f"{1e3 * found.seconds:.2f} ms, {1e3 * spent['matmul']:.2f} in products"


def compile_step(topology: str, rows: int, kind: str) -> None:
    """Compiles the products, forward and backward, for a chip of the topology."""
    import jax
    from jax.experimental import topologies as compile_only
    from jax.sharding import SingleDeviceSharding

    from mmjax.ops import quantized

    described = compile_only.get_topology_desc(platform="tpu", topology_name=topology)
    where = SingleDeviceSharding(described.devices[0])

    def array(*shape: int, dtype: str) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    def mlp(x, up, down):
        up, down = up.astype(x.dtype), down.astype(x.dtype)
        hidden = jax.nn.silu(quantized.tensordot(x, up, 1, kind))
        return quantized.tensordot(hidden, down, 1, kind)

    def train_step(x, up, down, dy):
        y, pull = jax.vjp(mlp, x, up, down)
        return y, pull(dy)

    x = array(rows, WIDTH, dtype="bfloat16")
    up = array(WIDTH, HIDDEN, dtype="float32")
    down = array(HIDDEN, WIDTH, dtype="float32")
    jax.jit(train_step).lower(x, up, down, x).compile()


if __name__ == "__main__":
    main()
