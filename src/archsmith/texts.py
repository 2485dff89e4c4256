"""Text that comes from elsewhere (somebody's run, file or agent), as it may be shown."""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than the tab and the newline: ESC starts a terminal's commands
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # what reorders or hides text
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of letters, as in names of files of another encoding; hidden tags
)
"""What terminals and browsers obey, hide or reorder instead of showing it."""
_CONTROLS = 0xA0


def escaped(text: str) -> str:
    r"""``text`` with all that a terminal would obey, hide or reorder written out; tabs and newlines stay.

    >>> print(escaped("\x1b[31mred"))
    \x1b[31mred
    """
    return UNSEEN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < _CONTROLS else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
