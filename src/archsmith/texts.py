"""Making text from elsewhere (somebody's run, file or agent) safe to show."""

from __future__ import annotations

import re

UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than the tab and the newline: ESC starts a terminal's commands
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # what reorders or hides text
    "\ud800-\udfff\U000e0000-\U000e007f]"  # lone surrogates, as in file names of another encoding; hidden tags
)
"""Characters that terminals and browsers obey, hide or reorder instead of showing them."""
_FIRST_AFTER_CONTROLS = 0xA0
"""The first code after the control characters; those below are written as ``\\x``."""


def escaped(text: str) -> str:
    r"""``text`` with escapes for all that a terminal would obey, hide or reorder; tabs and newlines stay.

    >>> print(escaped("\x1b[31mred"))
    \x1b[31mred
    """
    return UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < _FIRST_AFTER_CONTROLS:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
