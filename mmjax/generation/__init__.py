"""Generation: prompts are read once, then tokens come one by one, or are scored."""
