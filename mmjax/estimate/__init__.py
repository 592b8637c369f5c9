"""Predicts memory, speed and price of a run for accelerators that aren't there.

The real train step is compiled ahead of time, and what the compiler scheduled is
replayed instruction by instruction. `python -m mmjax.estimate` is the program.
"""
