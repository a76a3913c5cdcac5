"""How sequences are visited that are longer than a model is made for."""

import math

Window = tuple[int, int, int]
"""Where a model begins to read, the first entry that it is asked for, and the one after the last: see `windows`."""


def windows(given: int, total: int, longest: int | None, period: int = 1) -> tuple[Window, ...]:
    """Return the stretches in which a sequence is visited by a model that is made for `longest` entries.

    A window begins half its length after the one before it: the model reads the last half of that again and draws as much
    after it. So each entry is given at least half a window of those before it, and costs two steps at most. Windows are
    counted from the beginning of the sequence, given entries included; those without an entry to draw are left out.

    Args:
        given: entries that are given.
        total: entries of the sequence, more than are given.
        longest: entries that the model is made for; None where any number is, and one window visits all.
        period: windows begin at multiples of it, such as 8 bits.

    Returns:
        For each window: where the model begins to read, the first entry that it draws, and the one after the last.

    >>> windows(0, 10, 4), windows(7, 10, 4), windows(7, 10, None)
    (((0, 0, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)), ((4, 7, 8), (6, 8, 10)), ((0, 7, 10),))
    """
    if longest is None:
        return ((0, given, total),)
    stride = min(longest, period * math.ceil(longest / (2 * period)))
    found = []
    for k in range(1 + math.ceil(max(0, total - longest) / stride)):
        begin = k * stride
        first = max(given, begin + longest - stride if k else 0)
        stop = min(total, begin + longest)
        if first < stop:
            found.append((begin, first, stop))
    return tuple(found)
