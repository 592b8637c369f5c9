"""Preparation: from raw corpora, or from nothing (the sample world), to shards."""
