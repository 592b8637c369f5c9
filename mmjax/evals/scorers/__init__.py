"""Scores of answers against references, as each benchmark's own scorer counts them."""
