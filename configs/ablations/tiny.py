"""A run that learns to learn from its context, in minutes on two cores.

Documents of nine pictures, each with a made-up word behind it: in one document a dax is
a red circle and a wug a blue star, in the next they are something else, so what helps
is what stood before. Few-shot accuracy every 500 steps shows when a model finds that
out; with the solved examples' words exchanged it has to fall to chance, a half:
`python -m mmjax.evaluate --workdir=RUN --tasks=questions --shots=0,4,8 --exchanged`.
What helps and what doesn't: docs/in_context.md.
"""

from configs import quickstart
from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; every field can be overridden, such as `--config.steps=1000`."""
    config = quickstart.get_config()
    config.steps = 4000
    vit, decoder = config.model.vit, config.model.decoder
    vit.image_size, vit.patch_size = 32, 16  # a patch for each place of a thing
    vit.width, vit.mlp_width, vit.layers = 64, 256, 2
    config.model.connector.tokens = 1
    decoder.width, decoder.mlp_width, decoder.layers = 128, 256, 3
    decoder.heads = decoder.kv_heads = 4
    config.data.root = "data/tiny_world"
    config.data.sample_world = config_lib.SampleWorld(
        enabled=True, image_size=32, names=30_000, questions=240
    )
    config.data.row_tokens = 128
    config.data.sources = (config_lib.Source("captions"), config_lib.Source("names"))
    config.mixture.weights = (15, 85)
    config.optim.warmup_steps = 200
    config.checkpoint.every = 500
    config.log.every = 50
    config.evaluation.every = 250
    config.evaluation.questions = "one_name/heldout"
    config.evaluation.examples = 240
    config.evaluation.tasks_every = 500
    return config
