"""Runs: each file has a function `get_config` that returns a `mmjax.config.Config`."""
