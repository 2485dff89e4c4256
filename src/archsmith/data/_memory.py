"""How much memory this machine has, so that too large data are refused in time."""

from __future__ import annotations

import os


def memory() -> int:
    """Bytes of memory of this machine; 16 GiB where the system does not say."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not hasattr(os, "sysconf") or any(name not in os.sysconf_names for name in names):
        return 16 * 2**30
    return os.sysconf(names[0]) * os.sysconf(names[1])
