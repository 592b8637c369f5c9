"""MM1-3B with 64 experts in every 2nd layer, of which a token goes to two.

56 B parameters with our dimensions (MM1: 64 B); recipe and learning rate are those of
the dense model (arXiv 2403.09611, section 3.5 and appendix B). Experts have room for
twice an even share of a row; MM1 doesn't publish its capacity. A dense checkpoint
becomes a start for it by `python -m mmjax.upcycle`.
"""

from configs import hardware as hardware_lib
from configs import mm1_3b
from mmjax import config as config_lib


def get_config(hardware: str = "") -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora.

    `hardware` is a name of `configs/hardware.py`:
    --config=configs/mm1_3b_moe.py:v5p:4x4x8.
    """
    config = mm1_3b.get_config()
    config.model.decoder.moe = config_lib.Moe(experts=64, every=2, capacity_factor=2.0)
    config.mesh = config_lib.Mesh(data=-1, fsdp=16, expert=8)
    return hardware_lib.fitted(config, "mm1_3b_moe", hardware)
