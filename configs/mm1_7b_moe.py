"""MM1-7B with 32 experts in every 4th layer, of which a token goes to two.

41 B parameters with our dimensions (MM1: 47 B); all else as in `configs/mm1_3b_moe.py`.
"""

from configs import hardware as hardware_lib
from configs import mm1_7b
from mmjax import config as config_lib


def get_config(hardware: str = "") -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora.

    `hardware` is a name of `configs/hardware.py`:
    --config=configs/mm1_7b_moe.py:v5p:4x4x8.
    """
    config = mm1_7b.get_config()
    config.model.decoder.moe = config_lib.Moe(experts=32, every=4, capacity_factor=2.0)
    config.mesh = config_lib.Mesh(data=-1, fsdp=16, expert=8)
    return hardware_lib.fitted(config, "mm1_7b_moe", hardware)
