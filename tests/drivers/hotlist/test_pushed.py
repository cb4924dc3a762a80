"""Lists that are sent to the station over HTTPS: by curl, by whoever may not, cut off, twice, and wrong in each way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from pydantic import ValidationError

from agent.errors import ConfigError
from drivers.alpr.hotlist.driver import ACTIVATED, Hotlists
from drivers.alpr.hotlist.emulator import invented
from tests.drivers.hotlist.rig import LISTED, Bench, trace, until
from tests.drivers.hotlist.test_lists import ids, in_use, spoiled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from drivers.alpr.hotlist.pushed import Pushed

TOKEN = "0123456789abcdef" * 2
CURL = shutil.which("curl")
LOOPBACK = {"address": "127.0.0.1", "port": 0, "plain": True}


def bench(folder: Path, listen: dict[str, Any] | None = None, **more: Any) -> Bench:  # noqa: ANN401 - options
    """A station to which one list is sent."""
    push = {"auth": "token", "secret_file": folder / "token", **more.pop("push", {})}
    (folder / "token").write_text(TOKEN)
    return Bench(folder, list={"push": push, "folder": None, **more.pop("list", {})}, listen=listen or LOOPBACK, **more)


@asynccontextmanager
async def sending(made: Bench, plates: tuple[str, ...] = LISTED) -> AsyncIterator[tuple[Hotlists, str, Pushed]]:
    async with made.open(plates) as driver:
        pushed = driver.pushed
        assert pushed is not None
        await until(lambda: pushed.bound is not None)
        assert pushed.bound is not None
        yield driver, pushed.bound.url, pushed


async def put(url: str, body: Any, token: str | None = TOKEN, method: str = "PUT", **more: Any) -> tuple[int, str]:  # noqa: ANN401 - aiohttp's
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= more.pop("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body, headers=headers, **more) as answer,
    ):
        return answer.status, await answer.text()


async def test_curl_sends_a_list_and_is_told_that_it_is_in_use(tmp_path: Path) -> None:
    """With TLS, as the page of `evidock device enrol` says; curl is of another author."""
    if CURL is None:
        pytest.skip("curl is not installed")
    port = 0
    files = {"certificate": tmp_path / "own.pem", "key": tmp_path / "own.key"}
    listen = {"address": "127.0.0.1", "port": port, **files}
    options = {"use": "alpr.hotlist", "name": "hotlists", "folder": tmp_path / "hotlists", "listen": listen}
    lists = {"name": "region", "layout": "ncic_fixed", "keys": ["/etc/k"], "push": {"secret_file": tmp_path / "made"}}
    told = Hotlists.enrol(Hotlists.Options.model_validate({**options, "list": [lists]}))
    assert {str(tmp_path / name) for name in ("made", "own.pem", "own.key")} == set(told.made)
    assert (tmp_path / "made").read_text().strip() in told.content.decode()
    made = bench(tmp_path, listen, push={"secret_file": tmp_path / "made"})
    async with sending(made) as (driver, url, _):
        plates = [*LISTED, "EVDK901"]
        path = made.publisher.publish(iter(plates))
        page = [line.strip() for line in told.content.decode().splitlines()]
        (tmp_path / "region.curl").write_text(
            "\n".join(page[page.index("fail-with-body") - 2 : page.index("fail-with-body") + 1])
        )
        commands = [line for line in page if line.startswith("curl ")]
        assert (tmp_path / "made").read_text().strip() not in "".join(commands), "every user sees a command's arguments"
        for line, file in zip(commands, (made.publisher.manifest_file, path), strict=True):
            asked = line.replace("https://127.0.0.1:0", url).split()
            asked[asked.index("--upload-file") + 1] = str(file)
            process = await asyncio.create_subprocess_exec(*asked, "--silent", stdout=-1, stderr=-2, cwd=tmp_path)
            said, _ = await process.communicate()
            assert process.returncode == 0, said
        assert b"5 plates are in use" in said
        assert in_use(driver, *plates)
        (activated,) = [one for one in made.station.observed[-1:] if one.kind == ACTIVATED]
        assert activated.detail["signer"]
        assert ids(driver) == set()
        health = await driver.health()
        assert health["lists are sent to"] == url
    assert trace(tmp_path / "hotlists", "EVDK901") == [], "a list lies in its index alone, and there in numbers"


async def test_what_was_sent_already_is_not_sent_again(tmp_path: Path) -> None:
    made = bench(tmp_path)
    async with sending(made) as (_, url, _):
        path = made.publisher.publish(iter([*LISTED, "EVDK902"]))
        manifest = made.publisher.manifest_file.read_bytes()
        assert (await put(f"{url}/hotlists/region", path.read_bytes()))[0] == 428, "its manifest comes first"
        assert (await put(f"{url}/hotlists/region.jws", manifest))[0] == 202
        assert (await put(f"{url}/hotlists/region.jws", manifest))[0] == 202
        assert (await put(f"{url}/hotlists/region", path.read_bytes()))[0] == 201
        status, said = await put(f"{url}/hotlists/region.jws", manifest)
        assert (status, "in use already" in said) == (200, True)


@pytest.mark.parametrize("fault", ["cut", "damaged", "unsigned", "old", "shorter"])
async def test_what_is_wrong_with_a_list_leaves_the_one_before(tmp_path: Path, fault: str) -> None:
    made = bench(tmp_path)
    async with sending(made, (*LISTED, *invented(6))) as (driver, url, _):
        path, _ = spoiled(made.publisher, fault)
        told = [await put(f"{url}/hotlists/region.jws", made.publisher.manifest_file.read_bytes())]
        if told[0][0] == 202:
            told.append(await put(f"{url}/hotlists/region", path.read_bytes()))
        assert told[-1][0] == 422, told
        assert "What was in use stays in use" in told[-1][1] or "evidock hotlist import" in told[-1][1]
        assert in_use(driver, *LISTED)
        assert "hotlist.not_taken" in ids(driver)
        assert list((tmp_path / "hotlists").glob(".*")) == []


async def test_who_may_not_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    made = bench(tmp_path)
    async with sending(made) as (driver, url, pushed):
        manifest = made.publisher.manifest_file.read_bytes()
        place = f"{url}/hotlists/region.jws"
        assert (await put(place, manifest, token=None))[0] == 401
        assert pushed.refused["region"] == 0, "curl asks without first"
        assert (await put(place, manifest, token="x" * 20))[0] == 401
        assert pushed.refused["region"] == 1
        assert "hotlist.refused" in ids(driver)
        async with aiohttp.ClientSession() as session:  # a body that is longer than anybody would read
            asked = session.put(f"{url}/hotlists/region", data=io.BytesIO(bytes(8 << 20)), expect100=True)
            async with asked as answer:
                assert answer.status == 401
        assert (await put(f"{url}/hotlists/another", b""))[0] == 404
        assert (await put(f"{url}/hotlists/region/more", b""))[0] == 404
        assert (await put(f"{url}/hotlists/region", b"", method="GET"))[0] == 405, "nobody is given a list"
        assert (await put(f"{url}/hotlists/region.sha256", b"0" * 64))[0] == 404, "another proof than is asked for"
        assert (await put(f"{url}/hotlists/region", b"", headers={"Content-Encoding": "gzip"}))[0] == 415
        assert (await put(place, b"x" * 70_000))[0] == 413


async def test_a_list_that_breaks_off_or_comes_twice_at_once_is_not_taken(tmp_path: Path) -> None:
    made = bench(tmp_path, list={"largest": 4096})
    async with sending(made) as (driver, url, _):
        path = made.publisher.publish(iter([*LISTED, "EVDK903"]))
        assert (await put(f"{url}/hotlists/region.jws", made.publisher.manifest_file.read_bytes()))[0] == 202
        body, gate = path.read_bytes(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:50]
            await gate.wait()
            yield body[50:]

        first = asyncio.create_task(put(f"{url}/hotlists/region", slowly()))
        await until((tmp_path / "hotlists" / ".region.pushed").exists)
        assert (await put(f"{url}/hotlists/region", body))[0] == 409
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await until(lambda: not (tmp_path / "hotlists" / ".region.pushed").exists())
        assert in_use(driver, *LISTED)
        assert (await put(f"{url}/hotlists/region", b"x" * 5000))[0] == 413
        gate.set()

        async def much() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * 1000

        assert (await put(f"{url}/hotlists/region", much()))[0] == 422, "also where it states no length"
        assert (await put(f"{url}/hotlists/region", body))[0] == 201, "its manifest still holds"
        assert in_use(driver, "EVDK903")


async def test_a_certificate_shows_who_it_is(tmp_path: Path) -> None:
    authority = trustme.CA()
    own, sender = authority.issue_cert("127.0.0.1"), authority.issue_cert(common_name="region")
    stranger = authority.issue_cert(common_name="another")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = {"certificate": tmp_path / "own.pem", "key": tmp_path / "own.pem", "client_ca": tmp_path / "ca.pem"}
    made = bench(
        tmp_path, {"address": "127.0.0.1", "port": 0, **files}, push={"auth": "certificate", "secret_file": None}
    )
    async with sending(made) as (driver, url, _):
        path = made.publisher.publish(iter([*LISTED, "EVDK904"]))
        for who, status in ((stranger, 401), (sender, 202)):
            context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
            who.configure_cert(context)
            manifest = made.publisher.manifest_file.read_bytes()
            assert (await put(f"{url}/hotlists/region.jws", manifest, None, ssl=context))[0] == status
        assert (await put(f"{url}/hotlists/region", path.read_bytes(), None, ssl=context))[0] == 201
        assert in_use(driver, "EVDK904")


async def test_a_digest_or_nothing_proves_a_list_where_that_is_configured(tmp_path: Path) -> None:
    made = bench(tmp_path, list={"proof": "digest"})
    async with sending(made, ()) as (driver, url, _):
        path = made.publisher.publish(iter(LISTED))

        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert (await put(f"{url}/hotlists/region.sha256", f"{digest}  region.txt\n".encode()))[0] == 202
        assert (await put(f"{url}/hotlists/region", path.read_bytes() + b"\n"))[0] == 422
        assert (await put(f"{url}/hotlists/region", path.read_bytes()))[0] == 201
        assert in_use(driver, *LISTED)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"listen": None}, "go together"),
        ({"listen": {"address": "192.0.2.7", "port": 1, "plain": True}}, "this machine alone"),
        ({"push": {"auth": "certificate", "secret_file": None}}, "client_ca"),
        ({"push": {"secret_file": None}}, "secret_file"),
        ({"push": {"secret_file": "token"}}, "absolute"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    made = bench(tmp_path, **({"push": more["push"]} if "push" in more else {}))
    made.more["listen"] = more.get("listen", LOOPBACK) if "listen" in more else LOOPBACK
    with pytest.raises(ValidationError, match=why):
        made.driver()


def test_nothing_is_enrolled_where_nothing_is_sent(tmp_path: Path) -> None:
    options = bench(tmp_path)
    options.more["listen"] = None
    options.list["push"] = None
    with pytest.raises(ConfigError, match="listen"):
        Hotlists.enrol(options.driver().options)
