"""The process that reads: a line comes in with the paths of films, and one goes out with what each of them says."""

import json
import os
import resource
import sys
from typing import Any, Final

from agent.confine import confine
from firmware_specs import SpecError
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.source import FileSource

__all__ = ["told"]

_MEMORY: Final = 512 << 20


def told(path: str) -> dict[str, Any]:
    """What the file says, or why it was not read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return {"unread": f"it cannot be opened: {error.strerror}"}
    try:
        return claims(film(FileSource(fd)))
    except SpecError as error:
        return {"unread": str(error)[:500]}
    except OSError as error:
        return {"unread": f"it cannot be read: {error.strerror}"}
    finally:
        os.close(fd)


def main() -> None:
    """Give up what is not needed, and answer until the other end closes."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        confine()
    except OSError as error:
        sys.stderr.write(f"not confined by itself: {error}\n")  # bounded all the same, and without rights of its own
    for line in sys.stdin:
        sys.stdout.write(json.dumps([told(path) for path in json.loads(line)]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
