"""Questions to an OpenAI-compatible endpoint: about images, or about texts alone."""
