"""What a run sets by the hardware it is for: `--config=configs/mm1_3b.py:h100:64`.

Hardware has the names of `python -m mmjax.estimate --topology=...`. Batches are the
same on all: 512 rows in 32 pool groups, which lie over `mesh.data`, a group's 16 rows
over `mesh.fsdp`; `optim.accumulate` is into how many parts they are cut, one in memory
at a time. With `mesh.tensor`, a pool's slots are a multiple of more.

The files themselves are for 128 and 512 v5p chips. What other TPUs need is chosen by
predicted times and memory; GPUs' by memory, as that program counts it
(docs/performance.md), to fill about half of it at most: nothing is known of their time
but that fewer and larger microbatches gather weights less often. None was ever run.
"""

from collections.abc import Mapping
from typing import Any

from mmjax import config as config_lib
from mmjax.config import Config

Choice = Mapping[str, Any]  # values by the path of a field, as on the command line


def _gpus(data: int, fsdp: int, accumulate: int, decoder_remat: str) -> Choice:
    return {
        "mesh.data": data,
        "mesh.fsdp": fsdp,  # 8 are the GPUs of a host, on links of their own
        "optim.accumulate": accumulate,
        "model.decoder.remat": decoder_remat,
        "model.vit.remat": "attention",
    }


_KEPT_LESS = {"model.vit.remat": "attention", "model.decoder.remat": "attention"}


def _tensor(data: int, tensor: int, accumulate: int) -> Choice:
    """Layers over `tensor`: for v5e, where a row's share of them is too large else."""
    return {
        **_KEPT_LESS,
        "mesh.data": data,
        "mesh.tensor": tensor,
        "data.pool_multiple": 16 * tensor,
        "optim.accumulate": accumulate,
    }


CHOICES: Mapping[str, Mapping[str, Choice]] = {
    "mm1_3b": {
        "v5p:4x4x8": {},
        "v5p:8x8x8": {},
        "v5e:16x16": {**_KEPT_LESS, "optim.accumulate": 2},
        "v6e:16x16": {
            "model.vit.remat": "attention",
            # As many numbers as 20 heads of 128 have, in halves of its matrix units.
            "model.decoder.heads": 10,
            "model.decoder.kv_heads": 10,
            "model.decoder.head_size": 256,
            # The table of the vocabulary is gathered once a pass, not for each chunk.
            "model.loss_chunk": 4096,
        },
        "h100:8": _gpus(1, 8, 16, "projections"),
        "h100:64": _gpus(8, 8, 2, "projections"),
        "h100:512": _gpus(32, 16, 1, "projections"),
        "h200:8": _gpus(1, 8, 8, "projections"),
        "h200:64": _gpus(8, 8, 1, "projections"),
        "h200:512": _gpus(32, 16, 1, "projections"),
    },
    "mm1_7b": {
        "v5p:4x4x8": {"optim.accumulate": 2},
        "v5p:8x8x8": {},
        "v5e:16x16": {**_KEPT_LESS, "optim.accumulate": 2, "optim.zero1": True},
        "v6e:16x16": _KEPT_LESS,
        "h100:8": _gpus(1, 8, 32, "projections"),
        "h100:64": _gpus(8, 8, 4, "projections"),
        "h100:512": _gpus(32, 16, 1, "projections"),
        "h200:8": _gpus(1, 8, 16, "projections"),
        "h200:64": _gpus(8, 8, 2, "projections"),
        "h200:512": _gpus(32, 16, 1, "projections"),
    },
    "mm1_30b": {
        "v5p:4x4x8": {"optim.accumulate": 4},
        "v5p:8x8x8": {},
        "v5e:16x16": {**_tensor(4, 4, 8), "optim.zero1": True},
        "v6e:16x16": {**_KEPT_LESS, "optim.accumulate": 2, "optim.zero1": True},
        "h100:64": _gpus(4, 16, 8, "attention"),
        "h100:512": _gpus(32, 16, 1, "attention"),
        "h200:8": _gpus(1, 8, 32, "attention"),
        "h200:64": _gpus(4, 16, 8, "projections"),
        "h200:512": _gpus(32, 16, 1, "projections"),
    },
    "mm1_3b_moe": {
        "v5p:4x4x8": {"optim.accumulate": 2},
        "v5p:8x8x8": {},
        "v5e:16x16": _tensor(1, 2, 4),
        "v6e:16x16": _KEPT_LESS,
    },
    "mm1_7b_moe": {
        "v5p:4x4x8": {"optim.accumulate": 2},
        "v5p:8x8x8": {},
        "v5e:16x16": {**_tensor(1, 2, 4), "model.decoder.remat": "full"},
        "v6e:16x16": _KEPT_LESS,
    },
}


def fitted(config: Config, name: str, hardware: str) -> Config:
    """The config of a file, with what it sets for hardware; "" leaves it as it is.

    Raises ValueError for hardware that nothing is set for.
    """
    if not hardware:
        return config
    known = CHOICES[name]
    if hardware not in known:
        raise ValueError(
            f"{name}.py:{hardware}: nothing is set for {hardware!r}, only for "
            f"{', '.join(known)}"
        )
    for path, value in known[hardware].items():
        config_lib.assign(config, path, value)
    return config
