"""Figures as text: aligned tables, and numbers as people write them."""

from collections.abc import Iterable, Mapping, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of columns: the first is aligned to the left, the others to the right."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def percent(part: float, whole: float, digits: int = 1) -> str:
    """A share in per cent; "-" of nothing."""
    return f"{100 * part / whole:.{digits}f} %" if whole else "-"


def compact(value: float) -> str:
    """A number in three or four figures: 950, 12.3k, 4.56M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return (
                f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{letter}"
            )
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def shares(counts: Mapping[str, int], most: int = 6) -> str:
    """The largest parts of a whole, as "MIT 46.4 %, CC0-1.0 36.6 % and 2 more"."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{name or 'none'} {percent(n, total)}" for name, n in ordered[:most]]
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(parts) + more
