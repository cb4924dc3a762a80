"""The running daemon, asked over its Unix socket; what it refuses is raised here as the same error."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from agent import errors
from agent.errors import AgentError, ConfigError, Refusal, in_words

__all__ = ["Daemon"]

_PATIENCE: Final = 60.0
"""Seconds that one answer may take."""
_AGAIN: Final = 5.0
"""The same for a daemon that did not answer before: a command that asks several times waits for long once."""
_PAGE: Final = 64 * 1024
_OK: Final = 200


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """See `http.client`."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Daemon:
    """See `agent.cli.asking.Source`."""

    running = True
    _silent: ClassVar[set[Path]] = set()
    """Where one listened and did not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def answers(self) -> bool:
        """Whether a daemon listens. `Refusal` where one may not be asked."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
            try:
                tried.connect(str(self._path))
            except PermissionError:
                raise Refusal(
                    f"you may not open {self._path}",
                    hint="Run this as root, or ask for membership in the group evidock.",
                ) from None
            except OSError:
                return False
        return True

    def status(self) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/status")

    def devices(self) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/devices")

    def bays(self) -> dict[str, Any]:
        """`bays`, as they stand on the dock's screen, and `others`: devices that are in none."""
        return self._ask("/bays")

    def captures(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        drills: bool = False,
        **wanted: str | None,
    ) -> dict[str, Any]:
        """See `Source`."""
        told = "true" if drills else None
        return self._ask("/captures", limit=limit, before=before, drills=told, **wanted)

    def capture(self, beginning: str) -> dict[str, Any]:
        """See `Source`."""
        return self._ask(f"/captures/{quote(beginning, safe='')}")

    def act(self, verb: str, beginning: str, *, why: str, priority: str | None = None) -> dict[str, Any]:
        """See `Source`."""
        path = f"/captures/{quote(beginning, safe='')}/{verb}"
        return self._ask(path, body={"why": why, "priority": priority})

    def assign(self, rows: list[dict[str, Any]], *, why: str) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/assignments", body={"assignments": rows, "why": why})

    def assigned(self, names: list[str]) -> dict[str, Any]:
        """See `Source`."""
        with self._answer("GET", f"/assignments?{urlencode([('name', name) for name in names])}") as answer:
            told: dict[str, Any] = json.loads(answer.read())
            return told

    def head(self) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/journal/head")

    def entries(self, *, first: int | None = None, limit: int = 20) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/journal/entries", first=first, limit=limit)

    def leaves(self) -> Iterator[bytes]:
        """See `Source`."""
        with self._answer("GET", "/journal/leaves") as answer:
            for line in answer:
                yield line.removesuffix(b"\n")

    def verify(self, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """See `Source`."""
        with self._answer("GET", "/journal/verify") as answer:
            for line in answer:
                told = json.loads(line)
                if "report" in told:
                    report: dict[str, Any] = told["report"]
                    return report
                progress(told["done"], told["of"])
        raise AgentError("the daemon ended while it looked through its journal")

    def drill(self, *, length: int, patience: int) -> Iterator[dict[str, Any]]:
        """Make a drill: each step when it is done, at last `report`."""
        body = {"length": length, "patience": patience}
        with self._answer("POST", "/drill", body, patience=patience + _PATIENCE) as answer:
            for line in answer:
                yield json.loads(line)

    def room(self) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/spool/room")

    def dossiers(self, captures: list[str], *, why: str) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/journal/dossiers", body={"captures": captures, "why": why})

    def rotate(self, *, finish: bool, why: str) -> dict[str, Any]:
        """Change the log's key: begin it, or end it."""
        return self._ask("/custody/rotate", body={"finish": finish, "why": why})

    def order(self, driver: str, word: str, arguments: Mapping[str, object]) -> Any:  # noqa: ANN401 - any JSON
        """Say something to a driver; what it answers is its own."""
        path = f"/drivers/{quote(driver, safe='')}/{quote(word, safe='')}"
        return self._ask(path, body={"arguments": dict(arguments)})["told"]

    def expected(self, after: int) -> dict[str, Any]:
        """See `Source`."""
        return self._ask("/spool/expected", after=after)

    def keepers(self, names: list[str]) -> dict[str, int]:
        """See `Source`."""
        found: dict[str, int] = self._ask("/spool/keepers", body=names)["keepers"]
        return found

    def _ask(self, path: str, *, body: object = None, **query: str | int | None) -> dict[str, Any]:
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        with self._answer("GET" if body is None else "POST", f"{path}?{asked}" if asked else path, body) as answer:
            told: dict[str, Any] = json.loads(answer.read())
            return told

    @contextmanager
    def _answer(
        self, method: str, path: str, body: object = None, *, patience: float | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self._path, _AGAIN if self._path in self._silent else patience or _PATIENCE)
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self._silent.discard(self._path)
            if answer.status != _OK:
                raise _error(answer.read(_PAGE))
            yield answer
        except TimeoutError as error:
            self._silent.add(self._path)
            raise AgentError(
                f"the daemon runs, and did not answer in {connection.timeout:g} s at {self._path}",
                hint="Restart it: systemctl restart evidock. Why it hangs: journalctl -u evidock.",
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AgentError(f"the daemon at {self._path} broke off: {in_words(error)}") from error
        finally:
            connection.close()


def _error(content: bytes) -> AgentError:
    """The daemon's error as our own."""
    try:
        told = json.loads(content)["error"]
        kind = getattr(errors, told["kind"], AgentError)
        message, todo = str(told["message"]), str(told["todo"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return AgentError(f"the daemon did not understand the question: {content[:200].decode(errors='replace')}")
    if not (isinstance(kind, type) and issubclass(kind, AgentError)) or kind is ConfigError:
        kind = AgentError
    made: AgentError = kind(message, hint=todo)
    return made
