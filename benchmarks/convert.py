"""Memory and time of importing a decoder, kept in bfloat16, on 8 virtual devices.

    python -m benchmarks.convert [--billions=2]

makes a Llama of random numbers, as safetensors of 2 GB at most, imports it in a process
of its own and prints that process's peak of anonymous memory (mapped files don't
count: their pages are the system's to drop), as a multiple of the checkpoint's size.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import jax.numpy as jnp
import numpy as np

from mmjax import config
from mmjax.convert import tensor_writer
from mmjax.convert.families import decoder_rules, family
from mmjax.convert.parts import DECODERS
from mmjax.convert.tensor_writer import Pending

DEVICES = 8
SAMPLED = 0.005  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--billions", type=float, default=2.0)
    parser.add_argument("--folder", default=None, help="where to work; default: /tmp")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = pathlib.Path(folder)
        size = make(root / "theirs", arguments.billions)
        found = run(root)
        print(
            f"{size / 1e9:.2f} GB in bfloat16 on {DEVICES} virtual devices: peak of "
            f"anonymous memory {found['peak'] / 1e9:.2f} GB, {found['peak'] / size:.2f}"
            f" times the checkpoint ({found['before'] / 1e9:.2f} GB before it began), "
            f"{found['seconds']:.0f} s"
        )


def make(folder: pathlib.Path, billions: float) -> int:
    """A Llama of that size; returns the bytes of its tensors."""
    decoder = config.Decoder(
        vocab_size=32_000, width=2048, heads=16, kv_heads=16, mlp_width=5632,
        norm_eps=1e-5,
    )  # fmt: skip
    decoder.layers = 1
    one, tables = config.decoder_parameters(decoder)
    decoder.layers = max(1, round((billions * 1e9 - tables) / one))
    llama, rng = DECODERS["llama"], np.random.default_rng(0)
    kind = np.dtype(jnp.bfloat16)
    noise = rng.standard_normal(1 << 20).astype(kind)
    tensors = []
    for rule in decoder_rules.table(decoder, decoder_rules.ROOTS[0]):
        shape = rule.form.shape(_shape(decoder, rule.ours))
        for name in rule.names():
            make_one = lambda shape=shape: np.resize(noise, shape)  # noqa: E731
            tensors.append(Pending(name, shape, kind, make_one))
    folder.mkdir()
    tensor_writer.write(folder, tensors, 2 * 10**9)
    settings = family.settings_of(llama, decoder, "decoder")
    (folder / "config.json").write_text(json.dumps(settings))
    return sum(tensor.bytes for tensor in tensors)


def _shape(decoder: config.Decoder, path: str) -> tuple[int, ...]:
    """Of one layer's parameter."""
    width, inner = decoder.width, (decoder.heads, decoder.head_size)
    *_, module, name = path.split("/")
    if name == "scale":
        return (width,)
    return {
        "embedding": (decoder.vocab_size, width),
        "unembed": (width, decoder.vocab_size),
        "out/kernel": (*inner, width),
        "gate/kernel": (width, decoder.mlp_width),
        "up/kernel": (width, decoder.mlp_width),
        "down/kernel": (decoder.mlp_width, width),
    }.get(name if module == "decoder" else f"{module}/{name}", (width, *inner))


def run(root: pathlib.Path) -> dict[str, float]:
    """Imports in a process of its own."""
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "benchmarks.convert", "--measure"]
    done = subprocess.run(
        [*command, str(root / "theirs"), str(root / "ours")],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(theirs: str, ours: str) -> None:
    """Imports, and prints what it took as JSON."""
    from mmjax.convert import importing

    before = peak = anonymous()
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(SAMPLED):
            peak = max(peak, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    for line in importing.run(importing.Request(pathlib.Path(ours), decoder=theirs)):
        print(line)
    seconds = time.perf_counter() - begun
    stop.set()
    watcher.join()
    print(json.dumps({"before": before, "peak": peak, "seconds": seconds}))


def anonymous() -> int:
    """Bytes of this process's memory that no file backs (Linux)."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    field = next(line for line in lines if line.startswith("RssAnon:"))
    return int(field.split()[1]) * 1024


if __name__ == "__main__":
    main()
