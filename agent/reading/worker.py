"""The process that reads: a line comes in with the paths of films, and a line goes out for each, with what it says."""

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
    _say("it is here")
    for line in sys.stdin:
        for path in json.loads(line):
            _say(told(path))


def _say(answer: Any) -> None:  # noqa: ANN401 - JSON
    """At once: when nothing comes for long, it is known over which film."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
