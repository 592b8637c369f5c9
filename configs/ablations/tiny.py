"""A run to look for in-context learning, on two cores.

Documents of nine pictures, each followed by a made-up name; the names mean something
else in each document (`red` is a dax here and a wug there), so what helps is what stood
before. Few-shot accuracy every 1,000 steps tells whether a model learns to learn from
its context; with the solved examples' names exchanged it must fall to chance, a half:
`python -m mmjax.evaluate --workdir=RUN --tasks=questions --shots=0,4,8 --exchanged`.
"""

from configs import quickstart
from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; every field can be overridden, such as `--config.steps=1000`."""
    config = quickstart.get_config()
    config.steps = 6000
    config.model.vit.image_size = 32
    config.model.vit.patch_size = 8
    config.model.vit.width = 64
    config.model.vit.mlp_width = 256
    config.model.vit.layers = 3
    config.model.connector.tokens = 1
    config.model.decoder.width = 128
    config.model.decoder.heads = config.model.decoder.kv_heads = 4
    config.model.decoder.mlp_width = 384
    config.data.root = "data/tiny_world"
    config.data.sample_world = config_lib.SampleWorld(
        enabled=True, image_size=32, names=40_000, questions=240
    )
    config.data.sources = (config_lib.Source("captions"), config_lib.Source("names"))
    config.mixture.weights = (10, 90)
    config.optim.warmup_steps = 200
    config.checkpoint.every = 1000
    config.log.every = 50
    config.evaluation.every = 500
    config.evaluation.questions = "one_name/heldout"
    config.evaluation.examples = 240
    config.evaluation.tasks_every = 1000
    return config
