"""Checks a whole quickstart's `summary.json` against what the README promises.

check_quickstart.py SUMMARY
"""

import json
import sys


def problems(summary: dict) -> list[str]:
    """What the summary of a whole quickstart falls short of, one line each."""
    found = []

    def require(holds: bool, what: str) -> None:
        if not holds:
            found.append(what)

    for kind in ("colour", "shape"):
        right, baseline = summary["accuracy"][kind], summary["baseline"][kind]
        exchanged = summary["accuracy_images_exchanged"][kind]
        require(right >= 0.9, f"{kind}: accuracy {right:.1%}, at least 90 %")
        require(
            baseline < 0.4, f"{kind}: most common answer {baseline:.1%}, below 40 %"
        )
        require(
            exchanged < 0.4, f"{kind}: images exchanged {exchanged:.1%}, about chance"
        )
    weights = summary["mixture"]
    rows = {name: count["rows"] for name, count in summary["delivered"].items()}
    for name, weight in weights.items():
        exact = weight * sum(rows.values())
        require(
            abs(rows[name] - exact) < 1,
            f"{name}: {rows[name]} rows delivered, {exact:.1f} configured",
        )
    require(summary["pool_fill"] >= 0.90, f"pool fill {summary['pool_fill']:.1%}")
    require(summary["token_fill"] >= 0.95, f"token fill {summary['token_fill']:.1%}")
    share = summary["final_seconds"] / summary["wall_seconds"]
    require(share < 0.15, f"evaluation: {share:.0%} of the time, below 15 %")
    shots = set.intersection(*map(set, summary["tasks"].values()))
    require(shots == {"0", "4", "8"}, f"tasks asked with {sorted(shots)} shots")
    memory = summary["peak_memory_bytes"] / 2**30
    require(memory <= 4, f"peak memory {memory:.1f} GiB, at most 4")
    return found


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        found = problems(json.load(file))
    for problem in found:
        print("the quickstart falls short:", problem)
    sys.exit(1 if found else 0)
