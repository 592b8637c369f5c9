"""MM1-3B's encoder, decoder and data with Flamingo's fusion instead of MM1's.

Before every 4th layer the decoder attends to the last image before a token, of which a
resampler makes 64 tokens (arXiv 2204.14198). An image takes one position of a row, not
144: rows of 2048 tokens hold about 64 captions. A dense decoder becomes a start for it
by `python -m mmjax.convert import` or `python -m mmjax.upcycle`.
"""

from configs import mm1_3b
from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora."""
    config = mm1_3b.get_config()
    config.model.connector = config_lib.Connector(
        kind="perceiver", tokens=64, depth=6, queries_as_keys=True
    )
    config.model.decoder.remat = "attention"  # two attentions in a layer: less is kept
    config.model.vit.remat = "attention"
    config.model.decoder.cross_attention = config_lib.CrossAttention(
        every=4, row_images=64
    )
    config.data.row_tokens, config.data.rows_per_batch = 2048, 1024
    return config
