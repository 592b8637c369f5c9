"""From corpora to batches that are a pure function of the config and the step."""
