"""Reads the outputs of official scorers, packed or not."""

import gzip
import json
import pathlib


def read(path: pathlib.Path):
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if ".jsonl" in path.name:
        return [json.loads(line) for line in content.splitlines()]
    return json.loads(content)
