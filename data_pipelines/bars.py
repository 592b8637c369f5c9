"""Progress bars, on standard error where that is a terminal, and nowhere else."""

import functools

import tqdm

Bar = tqdm.tqdm

# A file or a pipe would keep every state of a bar that moves: there, none is drawn.
bar = functools.partial(Bar, disable=None)

above = Bar.write  # prints a line above the bars
