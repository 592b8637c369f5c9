"""MM1-30B: the recipe of MM1-3B (`configs/mm1_3b.py`) with a 29.9 B decoder.

The one size that MM1 trains with a z-loss (arXiv 2403.09611, appendix B).
"""

from configs import decoders, mm1_3b
from configs import hardware as hardware_lib
from mmjax import config as config_lib


def get_config(hardware: str = "") -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora.

    `hardware` is a name of `configs/hardware.py`: --config=configs/mm1_30b.py:h100:64.
    """
    config = mm1_3b.get_config()
    config.model.decoder = decoders.mm1_30b()
    config.model.decoder.remat = "projections"
    config.model.z_loss = 1e-4
    body, _ = config_lib.decoder_parameters(config.model.decoder)
    config.optim.peak_lr = config_lib.mm1_learning_rate(body)
    return hardware_lib.fitted(config, "mm1_30b", hardware)
