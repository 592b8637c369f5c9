"""Runs that answer a question about the recipe, small enough for a laptop."""
