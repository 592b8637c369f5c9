"""A checkpoint driven by evaluation libraries: lm-evaluation-harness and lmms-eval."""
