"""Making foreign text safe to look at: what agents write passes `visible()` before a person sees it (T4, T26, T36)."""

from __future__ import annotations

import unicodedata

_KEEP = frozenset("\n\t")
_NAMED = {"\x1b": "␛", "\x7f": "␡", "\r": "␍", "\b": "␈", "\a": "␇", "\0": "␀"}


def visible(text: str, *, lines: bool = True) -> str:
    """`text` with every control, format, private-use and unassigned character shown as a mark.

    ESC becomes `␛`, other C0 controls their control pictures, the rest `⟦U+202E⟧`. With `lines=False` newlines and
    tabs are shown too, so that the result is one line. The result holds no character of the categories Cc (but for
    newline and tab with `lines`), Cf, Co, Cs or Cn, nor the line and paragraph separators.
    """
    return "".join(_shown(ch, lines) for ch in text)


def _shown(ch: str, lines: bool) -> str:
    if " " <= ch <= "~":
        return ch
    if ch in _KEEP:
        return ch if lines else {"\n": "␊", "\t": "␉"}[ch]
    if ch in _NAMED:
        return _NAMED[ch]
    if ch in ("⟦", "⟧"):
        return f"⟦U+{ord(ch):04X}⟧"
    category = unicodedata.category(ch)
    if category == "Cc" and ord(ch) < 0x20:
        return chr(0x2400 + ord(ch))
    if category in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"):
        return f"⟦U+{ord(ch):04X}⟧"
    return ch


def first_lines(text: str, limit_bytes: int) -> str:
    """The beginning of `text`, at most `limit_bytes` of UTF-8, cut at a line's end where there is one."""
    raw = text.encode()
    if len(raw) <= limit_bytes:
        return text
    cut = raw[:limit_bytes].decode(errors="ignore")
    line_end = cut.rfind("\n")
    return cut[:line_end] if line_end > limit_bytes // 2 else cut
