"""Tasks run on a model: prompts, batches, what is kept of each example, figures."""
