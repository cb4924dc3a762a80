"""Every door through which devices push, all of one daemon: schemathesis asks what nobody should, and nothing breaks.

The documents are made here, of one true message for each door: each of its members may be there or not, and may hold
anything. So some requests come deep, and most are wrong somewhere. Then the daemon still runs, its journal is whole,
and whatever was answered with success is held.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from agent.testing.ports import free_port
from agent.testing.process import DaemonProcess, audit_state
from drivers.alpr.emulator import MESSAGES, Passage
from drivers.alpr.hotlist.emulator import Publisher, public_pem
from drivers.alpr.makers import MAKERS
from drivers.body_worn.axis_dock import AxisDock
from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Tablet
from tests.drivers.alpr.rig import AUTOVU, SECRET
from tests.drivers.axis_dock.rig import options as axis_options
from tests.drivers.dispatch.test_ng911 import EIDO
from tests.drivers.enotes.rig import scanned
from tests.drivers.enotes.rig import table as enotes_table
from tests.faults.test_surge import MEMORY, resident

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = os.environ.get("EVIDOCK_SCHEMATHESIS")
"""Of each operation: more with EVIDOCK_SCHEMATHESIS=1000."""
PHASES = "coverage,fuzzing" if EXAMPLES else "fuzzing"
TOKEN = "0123456789abcdef" * 2
BEARER = ("-H", f"Authorization: Bearer {TOKEN}")
INTERVAL = {"incident": "INC-1", "unit": "B12", "from": "2026-11-22T07:00:00Z", "until": "2026-11-22T08:00:00Z"}
ANYTHING = {"type": ["string", "number", "boolean", "null", "array", "object"]}


@dataclass(frozen=True)
class Knock:
    """One door: where it is, what may be said there, and with what one shows who one is."""

    name: str
    url: str
    paths: dict[str, Any]
    more: tuple[str, ...] = ()
    later: tuple[int, ...] = ()
    """Statuses that are no fault of the server: with them a sender is asked to come again."""


def loose(value: object) -> dict[str, Any]:
    """A schema of what this value is, and of everything that is like it in part."""
    match value:
        case dict():
            return {
                "anyOf": [{"type": "object", "properties": {name: loose(one) for name, one in value.items()}}, ANYTHING]
            }
        case list():
            return {"anyOf": [{"type": "array", "items": loose(value[0]) if value else ANYTHING}, ANYTHING]}
        case _:
            return {"anyOf": [{"const": value}, ANYTHING]}


def body(content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {content_type: {"schema": schema}}}}


def operation(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - of an OpenAPI document
    return {"responses": {"default": {"description": "whatever it says"}}, **more}


def names(*told: str) -> list[dict[str, Any]]:
    return [{"name": one, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for one in told]


def cameras(folder: Path) -> Iterator[dict[str, Any]]:
    (secret := folder / "camera.secret").write_text(SECRET)
    for maker in MAKERS:
        told = {"name": maker, "maker": maker, "secret_file": str(secret)}
        yield told | ({"mapping": AUTOVU} if maker == "generic" else {})


def plates(folder: Path) -> tuple[dict[str, Any], Knock]:
    paths: dict[str, Any] = {"/alpr/{maker}/{name}/{secret}": {"parameters": names("maker", "name", "secret")}}
    paths["/alpr/{maker}/{name}/{secret}"]["post"] = operation(**body("application/json", ANYTHING))
    for maker in MAKERS:
        sent = MESSAGES[maker](Passage(identity="one"), "")
        kind, _, _ = sent.content_type.partition(";")
        schema: dict[str, Any] = {"type": "string"}
        if kind == "application/json":
            schema = loose(json.loads(sent.body))
        elif kind == "multipart/form-data":
            schema = {"type": "object", "properties": {one: {"type": "string"} for one in ("json", "upload", "event")}}
        elif kind.endswith("xml"):
            schema = {"type": "object"}
        paths[f"/alpr/{maker}/{maker}/{SECRET}"] = {"post": operation(**body(kind, schema))}
    listen = {"address": "127.0.0.1", "port": free_port(), "plain": True}
    table = {"use": "alpr.receiver", "name": "car42", "listen": listen, "camera": list(cameras(folder))}
    return table, Knock("number plates", f"http://127.0.0.1:{listen['port']}", paths)


def lists(folder: Path) -> tuple[dict[str, Any], Knock]:
    (folder / "published").mkdir()
    publisher = Publisher(folder / "published")
    (folder / "publisher.pem").write_bytes(public_pem(publisher.key))
    listen = {"address": "127.0.0.1", "port": free_port(), "plain": True}
    push = {"auth": "token", "secret_file": str(folder / "token")}
    one = {"name": "region", "layout": "ncic_fixed", "keys": [str(folder / "publisher.pem")], "push": push}
    table = {
        "use": "alpr.hotlist",
        "name": "hotlists",
        "folder": str(folder / "hotlists"),
        "listen": listen,
        "list": [one],
    }
    put = operation(**body("application/octet-stream", {"type": "string", "format": "binary"}))
    paths: dict[str, Any] = {"/hotlists/region": {"put": put}, "/hotlists/region.jws": {"put": put}}
    paths["/hotlists/{name}"] = {"parameters": names("name"), "put": put, "get": operation()}
    return table, Knock("hotlists", f"http://127.0.0.1:{listen['port']}", paths, BEARER)


def dispatch(folder: Path, use: str, path: str, sample: object) -> tuple[dict[str, Any], Knock]:
    listen = {"address": "127.0.0.1", "port": free_port(), "plain": True}
    table = {"use": use, "name": use[-5:].strip("."), "listen": listen, "token_file": str(folder / "token")}
    paths: dict[str, Any] = {path: {"post": operation(**body("application/json", loose(sample)))}}
    paths["/{other}"] = {"parameters": names("other"), "post": operation(), "get": operation()}
    return table, Knock(use, f"http://127.0.0.1:{listen['port']}", paths, BEARER)


def axis(folder: Path) -> tuple[dict[str, Any], Knock, dict[str, Any]]:
    """Who is asked for a token first."""
    told = axis_options(folder)
    connection = json.loads(AxisDock.enrol(told).content)
    put = operation(**body("application/octet-stream", {"type": "string", "format": "binary"}))
    each = {"put": put, "post": put, "get": operation(), "head": operation(), "delete": operation()}
    paths: dict[str, Any] = {"/auth/v1.0": {"get": operation(), "post": operation()}}
    paths["/v1/evidock/{container}"] = {"parameters": names("container"), **each}
    paths["/v1/evidock/{container}/{object}"] = {"parameters": names("container", "object"), **each}
    table = json.loads(told.model_dump_json(exclude_unset=True))
    # Other bytes of the same length under the name of what is held: 503, they come again, and both are kept.
    knock = Knock("axis", f"https://127.0.0.1:{told.listen.port}", paths, ("--tls-verify", "false"), later=(503,))
    return table, knock, connection


def notes(folder: Path) -> tuple[dict[str, Any], Knock, Knock]:
    """Where tablets send, with a certificate of a tablet's; and where they ask for one, without."""
    table = enotes_table(folder)
    entries = operation(**body("text/plain", {"type": "string"}))
    put = operation(**body("application/octet-stream", {"type": "string", "format": "binary"}))
    signed = loose({"payload": "e30", "signatures": [{"protected": "e30", "signature": "AAAA"}]})
    upload = "/enotes/v1/attachments/{upload}"
    paths: dict[str, Any] = {
        "/enotes/v1/entries": {"post": entries},
        "/enotes/v1/receipts": {"get": operation()},
        "/enotes/v1/keys": {"post": operation(**body("application/json", signed))},
        "/enotes/v1/attachments": {"post": put},
        upload: {
            "parameters": names("upload"),
            "patch": put,
            "head": operation(),
            "delete": operation(),
            "get": operation(),
        },
    }
    shown = folder / "tablet"
    certificate = ("--request-cert", str(shown / "tls.pem"), "--request-cert-key", str(shown / "tls.key"))
    sends = Knock(
        "enotes", f"https://127.0.0.1:{table['listen']['port']}", paths, ("--tls-verify", "false", *certificate)
    )
    asks = {"/enotes/v1/enrol": {"post": operation(**body("application/json", signed))}}
    enrols = Knock("enotes, enrolling", f"https://127.0.0.1:{table['enrol_port']}", asks, ("--tls-verify", "false"))
    return table, sends, enrols


async def asked(knock: Knock, folder: Path) -> tuple[int, str]:
    """(exit code, what it says)."""
    document = folder / f"{knock.name.replace(' ', '-')}.json"
    info = {"title": knock.name, "version": "1"}
    document.write_text(json.dumps({"openapi": "3.1.0", "info": info, "paths": knock.paths}))
    fine = ["2xx", "3xx", "4xx", *map(str, knock.later)]
    (folder / "schemathesis.toml").write_text(f"[checks.not_a_server_error]\nexpected-statuses = {json.dumps(fine)}\n")
    words = ["run", str(document), "--url", knock.url, "--checks", "not_a_server_error", "--phases", PHASES]
    words += ["--max-examples", EXAMPLES or "2", "--no-color", "--suppress-health-check", "all", *knock.more]
    program = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(program, *words, cwd=folder, stdout=-1, stderr=-2)
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def opened(knock: Knock) -> None:
    """Wait until somebody listens there."""
    there = urlsplit(knock.url)
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(there.hostname, there.port)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def token_of(url: str, connection: dict[str, Any]) -> str:
    shown = {"X-Auth-User": connection["BlobAPIUserName"], "X-Auth-Key": connection["BlobAPIKey"]}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
        session.get(f"{url}/auth/v1.0", headers=shown) as answer,
    ):
        return answer.headers["X-Auth-Token"]


async def test_whatever_is_said_at_a_door_is_answered(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    tables: list[dict[str, Any]] = []
    knocks: list[Knock] = []
    for table, knock in (
        plates(tmp_path),
        lists(tmp_path),
        dispatch(tmp_path, "dispatch.cad", "/incidents", [INTERVAL]),
        dispatch(tmp_path, "dispatch.ng911", "/documents", json.loads(EIDO)),
    ):
        tables.append(table)
        knocks.append(knock)
    (tmp_path / "axis").mkdir()
    (tmp_path / "notes").mkdir()
    table, controller, connection = axis(tmp_path / "axis")
    notes_table, tablets, enrolling = notes(tmp_path / "notes")
    invitation = scanned(EnoteTablets.enrol(EnoteTablets.Options.model_validate(notes_table)))
    wrong: list[str] = []
    async with DaemonProcess(tmp_path / "station", drivers=[*tables, table, notes_table]) as daemon:
        await daemon.ready()
        async with asyncio.timeout(60):
            for knock in (*knocks, controller, tablets, enrolling):
                await opened(knock)
        async with Tablet(tmp_path / "notes" / "tablet") as tablet:
            await tablet.enrol(invitation)
        token = await token_of(controller.url, connection)
        knocks += [replace(controller, more=(*controller.more, "-H", f"X-Auth-Token: {token}")), tablets, enrolling]
        for knock in knocks:
            code, said = await asked(knock, tmp_path)
            wrong += [f"{knock.name}: {said[-3000:]}"] if code else []
        wrong += [] if resident(daemon.pid or 0) < MEMORY else ["it took too much memory"]
    wrong += await audit_state(daemon.state, [])
    assert not wrong, "\n".join(wrong)
    words = daemon.words.read_text()
    assert "Traceback" not in words
    assert "request_not_understood" in words
    assert "Schemathesis-Probe" not in words, "a stranger's header is quoted"
