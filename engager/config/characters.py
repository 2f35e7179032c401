"""Invisible characters, which get into files by copying. No key contains any."""

from __future__ import annotations

#: Characters without width.
WITHOUT_WIDTH = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u2060\ufeff")

#: Blanks of every kind, and characters without width: removed around keys.
BLANKS = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    [*map(chr, range(0x2000, 0x200B)), *sorted(WITHOUT_WIDTH)]
)
