"""The daemon without what only a terminal needs: structlog takes rich along where it finds it, for colours.

That is fifty modules and 3 MB which journald never shows. Imported before anything that imports structlog.
"""

import sys

__all__: list[str] = []

if not sys.stderr.isatty() and not {"rich", "structlog"} & sys.modules.keys():
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's word for "not here" (The import system, 5.3.1)
    try:
        import structlog  # noqa: F401 - without rich, from now on
    finally:
        del sys.modules["rich"]
