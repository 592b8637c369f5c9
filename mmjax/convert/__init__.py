"""Weights in and out: Hugging Face checkpoints become ours, and ours theirs.

A family (`families/`) is a table of (our path, their name, form), read forwards by
import and backwards by export, with its config.json translated both ways. What a table
or a config can't say is refused, by name.
"""
