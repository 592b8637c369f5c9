"""MM1-3B: ViT-H/14 at 378 px, 144 image tokens, a 2.5 B decoder, 45/45/10.

The recipe of arXiv 2403.09611: 512 rows of 4096 tokens a step, 200,000 steps, nothing
frozen, the learning rate by MM1's law, which presumes a pretrained encoder and decoder
(name them with `--config.init_from`). MM1 does not publish the decoder's dimensions;
these are ours.
"""

from configs import hardware as hardware_lib
from mmjax import config as config_lib


def get_config(hardware: str = "") -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora.

    `hardware` is a name of `configs/hardware.py`: --config=configs/mm1_3b.py:h100:64.
    """
    config = config_lib.Config(
        steps=200_000,
        model=config_lib.Model(
            # The defaults are ViT-H/14 at 378 px and the 3B decoder; what the backward
            # pass keeps is chosen by predicted times (docs/performance.md).
            vit=config_lib.ViT(remat="projections"),
            connector=config_lib.Connector(kind="c_abstractor", tokens=144),
            decoder=config_lib.Decoder(remat="projections"),
            loss_chunk=2048,
        ),
        data=config_lib.Data(
            root="data/mm1", row_tokens=4096, rows_per_batch=512, rows_per_pool=16
        ),
        mixture=config_lib.Mixture(weights=(45, 45, 10)),
        mesh=config_lib.Mesh(data=-1, fsdp=16),
        checkpoint=config_lib.Checkpoint(every=1000, keep_every=20_000),
        evaluation=config_lib.Evaluation(every=5000, rows=512),
    )
    body, _ = config_lib.decoder_parameters(config.model.decoder)
    config.optim.peak_lr = config_lib.mm1_learning_rate(body)
    config.optim.warmup_steps = 2000
    return hardware_lib.fitted(config, "mm1_3b", hardware)
