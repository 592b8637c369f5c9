"""MM1-7B: the recipe of MM1-3B (`configs/mm1_3b.py`) with a 6.5 B decoder."""

from configs import decoders, mm1_3b
from configs import hardware as hardware_lib
from mmjax import config as config_lib


def get_config(hardware: str = "") -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora.

    `hardware` is a name of `configs/hardware.py`: --config=configs/mm1_7b.py:h100:64.
    """
    config = mm1_3b.get_config()
    config.model.decoder = decoders.mm1_7b()
    config.model.decoder.remat = "projections"
    body, _ = config_lib.decoder_parameters(config.model.decoder)
    config.optim.peak_lr = config_lib.mm1_learning_rate(body)
    return hardware_lib.fitted(config, "mm1_7b", hardware)
