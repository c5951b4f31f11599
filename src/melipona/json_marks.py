"""What parsing JSON from a box would cost, told before it is parsed.

`[],[],[]...` takes 25 times its length in memory, and the interpreter does nothing else while it is read: a line or
body that is allowed by its length alone could stop the whole hive for seconds (T6, T7, T34). Text is cheap.
"""

from __future__ import annotations

import re

_MARKS = (b"[", b"{", b",")
_PIECE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,]', re.DOTALL)
"""A string, ended or not, or a mark outside of strings. It never fails once it has begun, so it is linear."""


def too_intricate(data: bytes, most: int) -> bool:
    """Whether `data` has more than `most` brackets, braces and commas outside of strings.

    Costs little for what is short or mostly text, and at most some 0.2 µs for each of `most` marks else.
    """
    if len(data) <= most or sum(map(data.count, _MARKS)) <= most:
        return False
    seen = 0
    for at, piece in enumerate(_PIECE.finditer(data)):
        seen += data[piece.start()] != 0x22
        if seen > most or at > 3 * most:  # JSON has at most two strings to a mark: what has more is none
            return True
    return False
