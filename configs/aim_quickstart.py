"""A small AIM on the sample world: an image encoder from pixels alone, in minutes.

The encoder is the quickstart's, so that its run can start from this one:
`--config=configs/quickstart.py --config.init_from=RUN --config.init_parts='("vit",)'`.
"""

from configs import quickstart
from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; every field can be overridden."""
    config = quickstart.get_config()
    config.steps = 400
    config.model.connector = config_lib.Connector(tokens=1, heads=4)
    config.model.objective = config_lib.Objective(
        kind="aim",
        aim=config_lib.Aim(head_depth=2, head_width=256, head_mlp_width=512),
    )
    config.data.row_tokens = 128
    config.data.rows_per_batch = config.data.rows_per_pool = 16
    config.data.sources = (config_lib.Source("captions"),)
    config.mixture.weights = (1,)
    config.evaluation = config_lib.Evaluation(every=200, rows=32, samples=0, probe=1500)
    return config
