"""The program that evaluates checkpoints on tasks."""
