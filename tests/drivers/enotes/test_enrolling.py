"""Tablets are taken in, change their keys, and are given up as lost: invitations, statements, the command line."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
import subprocess
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import jcs
import pytest
from typer.testing import CliRunner

from agent import cli
from agent.errors import AgentError
from agent.testing.process import DaemonProcess
from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Tablet
from drivers.enotes.emulator.notebook import Signer
from drivers.enotes.emulator.tablet import Refused
from drivers.enotes.inviting import enrolment
from tests.drivers.enotes.rig import scanned, table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.enotes.conftest import Desk


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def evidock(config: Path, *words: str) -> Done:
    """The command, in this process: a new one for each would take most of the test's time."""
    done = CliRunner().invoke(cli.app, ["--config", str(config), *words])
    if isinstance(done.exception, AgentError):
        return Done(done.exception.exit_code, done.stdout, f"{done.exception} {done.exception.what_to_do}")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


async def said(config: Path, *words: str) -> str:
    done = await asyncio.to_thread(evidock, config, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- invitations -------------------------------------------------------------------------------------------------------


async def test_an_invitation_works_once(desk: Desk) -> None:
    async with desk.open():
        async with Tablet(desk.folder / "one") as one, Tablet(desk.folder / "two", name="TAB-0200") as two:
            told = await one.enrol(desk.first)
            assert (told["tablet"], told["badge"], told["keep_until"]) == ("TAB-0117", "4471", "held")
            with pytest.raises(Refused, match="403"):
                await two.enrol(desk.first)
        observed = [one for one in desk.station.observed if one.kind == "enote.key"]
        assert [one.detail["key"]["public"] for one in observed] == [
            {name: value for name, value in one.signer.public.items() if name != "kid"}
        ]


async def test_two_tablets_at_once_with_one_code(desk: Desk) -> None:
    async with desk.open():
        tablets = [Tablet(desk.folder / f"t{n}", name=f"TAB-{n:04}") for n in range(4)]
        done = await asyncio.gather(*(one.enrol(desk.first) for one in tablets), return_exceptions=True)
        assert sum(isinstance(one, dict) for one in done) == 1, done


async def test_invitations_that_are_no_good(desk: Desk) -> None:
    async with desk.open():
        async with Tablet(desk.folder / "one") as one:
            with pytest.raises(Refused, match="403"):
                await one.enrol({**desk.first, "code": "AAAA-BBBB"})
            with pytest.raises(Refused, match="403"):
                await one.enrol({**desk.first, "code": "../../etc/passwd"})
        (file,) = (desk.options.state / "invitations").glob("*.json")
        told = json.loads(file.read_text())
        file.write_text(json.dumps({**told, "until": "2020-01-01T00:00:00.000Z"}))
        async with Tablet(desk.folder / "one") as one:
            with pytest.raises(Refused, match="403"):
                await one.enrol(desk.first)


async def test_statements_that_are_no_good(desk: Desk) -> None:
    async with desk.open(), Tablet(desk.folder / "one") as one:
        url, ca = desk.first["enrol"][0], ssl.create_default_context(cadata=_pem(desk.first["ca"]))
        good = one.statement("enote-enrol", code=desk.first["code"], csr=one.csr(), author={"badge": "1"})
        other = Signer("1", "other")
        connector = aiohttp.TCPConnector(ssl=ca)
        async with aiohttp.ClientSession(connector=connector) as session:
            for body, status in (
                (b"", 400),
                (b"[]", 400),
                (b"x" * 70_000, 413),
                (json.dumps(other.sign(good, "enote-enrol+jws", "enote-enrol+json")).encode(), 400),
                (json.dumps(one.signer.sign(good, "enote+jws", "enote-enrol+json")).encode(), 400),
                (_signed(one, {**good, "v": 2}), 400),
                (_signed(one, {**good, "recorded_at": "2020-01-01T00:00:00.000Z"}), 400),
                (_signed(one, {**good, "key": json.loads(one.signer.key.export_private())}), 400),
                (_signed(one, {**good, "csr": "no request"}), 400),
                (_signed(one, {**good, "author": {"badge": "\n"}}), 400),
                (_signed(one, {**good, "device": {"id": "../up"}}), 400),
                (_signed(one, good), 201),
            ):
                async with session.post(f"{url}/enotes/v1/enrol", data=body) as answer:
                    assert answer.status == status, (body[:80], await answer.text())
            async with session.post(f"{url}/enotes/v1/entries", data=b"") as answer:
                assert answer.status == 404, "the second port takes entries"


def _signed(tablet: Tablet, value: dict[str, Any]) -> bytes:
    return json.dumps(tablet.signer.sign(value, "enote-enrol+jws", "enote-enrol+json")).encode()


def _pem(der: str) -> str:
    import base64  # noqa: PLC0415

    return ssl.DER_cert_to_PEM_cert(base64.b64decode(der))


async def test_without_a_certificate_nobody_comes_in(desk: Desk) -> None:
    async with desk.open():
        context = ssl.create_default_context(cadata=_pem(desk.first["ca"]))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.post(f"{desk.first['url'][0]}/enotes/v1/entries", data=b"")


# -- keys --------------------------------------------------------------------------------------------------------------


async def test_a_key_is_rotated_and_the_old_one_ends_there(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        old = tablet.signer
        tablet.notebook.create("with the old key, sent after the rotation")
        told = await tablet.rotate()
        assert told["certificate"]
        assert told["kid"] == tablet.signer.kid != old.kid
        tablet.notebook.create("with the new key")
        note = tablet.notebook.create("with the new key too")
        tablet.notebook.write("append", note, old, text="with the old key, after it ended")
        await tablet.sync()
        assert [one["status"] for one in tablet.said] == ["ok", "ok", "ok", "unknown_key"]
        assert (await tablet.rotate(csr=False))["certificate"] is None
        tablet.notebook.pages[note].rev -= 1
        tablet.notebook.seq -= 1
        tablet.notebook.prev = None


async def test_a_rotation_needs_both_keys(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, desk.tablet("TAB-0200") as other:
        new = Signer("4471", "PC A. Sample")
        said_of = tablet.statement("enote-key", key=new.public)
        for signers, status in (((new,), 403), ((tablet.signer,), 400), ((other.signer, new), 403)):
            parts = [one.sign(said_of, "enote-key+jws", "enote-key+json") for one in signers]
            body = {"payload": parts[0]["payload"], "signatures": parts}
            with pytest.raises(Refused, match=str(status)):
                await tablet._ask("POST", "/enotes/v1/keys", json.dumps(body).encode(), {})


async def test_entries_of_a_key_that_is_registered_later_become_good(desk: Desk) -> None:
    """A tablet that was set up anew sends through another one before it is enrolled itself."""
    async with desk.open(), desk.tablet() as tablet, Tablet(desk.folder / "new", name="TAB-0300", badge="7") as new:
        new.notebook.create("one")
        new.notebook.create("two")
        await tablet.send(new.notebook.outbox)
        assert [one["status"] for one in tablet.said] == ["unknown_key"] * 2
        await new.enrol(desk.invited())
        assert desk.index("SELECT DISTINCT status FROM envelope") == [("ok",)]
        assert desk.station.observed[-1].kind == "enote.status_changed"
        await new.sync()
        assert [one["status"] for one in new.said] == ["duplicate"] * 2


async def test_what_an_enrolment_ends_is_judged_again_at_once(desk: Desk) -> None:
    """A tablet whose clock goes ahead is enrolled anew: its old key is not believed for the time after that."""
    async with desk.open(), desk.tablet() as tablet:
        tablet.notebook.clock_off = timedelta(minutes=1)
        tablet.notebook.create("a minute ahead")
        await tablet.sync()
        assert desk.index("SELECT status FROM envelope") == [("ok",)]
        page = enrolment(desk.options, tablet="TAB-0117", badge="4471")
        async with Tablet(desk.folder / "anew", name="TAB-0117") as anew:
            await anew.enrol(scanned(page))
        assert desk.index("SELECT status FROM envelope") == [("unknown_key",)]
        assert desk.index("SELECT count(*) FROM key WHERE judged = 0") == [(0,)]
        assert desk.station.observed[-1].kind == "enote.status_changed"


async def test_files_of_an_entry_that_becomes_good_later_are_awaited(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, Tablet(desk.folder / "new", name="TAB-0300", badge="7") as new:
        note = new.notebook.create("text")
        new.notebook.attach(note, ("photo.jpg", b"a photograph"))
        await tablet.send(new.notebook.outbox)
        assert desk.index("SELECT count(*) FROM attachment") == [(0,)]
        await new.enrol(desk.invited())
        told = "SELECT seq, length, name, held_at FROM attachment WHERE wanted_at IS NOT NULL"
        assert desk.index(told) == [(2, len(b"a photograph"), "photo.jpg", None)]
        await new.sync()
        assert desk.index("SELECT count(*) FROM attachment WHERE held_at IS NULL") == [(0,)]


async def test_what_a_crash_left_unjudged_is_judged_at_the_next_start(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, Tablet(desk.folder / "new", name="TAB-0300", badge="7") as new:
        new.notebook.create("one")
        await tablet.send(new.notebook.outbox)
        await new.enrol(desk.invited())
    desk.index_write("UPDATE envelope SET status = 'unknown_key', base = 'unknown_key'")
    desk.index_write("UPDATE key SET judged = 0")
    async with desk.open():
        assert desk.index("SELECT status, base FROM envelope") == [("ok", "")]


# -- the command line --------------------------------------------------------------------------------------------------


def test_files_are_made_once_and_for_their_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = DaemonProcess(tmp_path, drivers=[table(tmp_path)])
    done = evidock(daemon.config, "run")
    assert done.returncode == 2
    assert "evidock device enrol" in done.stderr
    done = evidock(daemon.config, "device", "enrol", "enotes", "--out", "one.html")
    assert done.returncode == 0, done.stderr
    private = ["one.html", "tls.key", "enotes/authority.key", "enotes/receipt.key"]
    before = {}
    for name in private:
        path = tmp_path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
        before[name] = path.read_bytes()
    assert evidock(daemon.config, "device", "enrol", "enotes", "--out", "two.html").returncode == 0
    assert {name: (tmp_path / name).read_bytes() for name in private} == before
    one, two = (scanned((tmp_path / name).read_bytes()) for name in ("one.html", "two.html"))
    assert one["code"] != two["code"]
    assert {**one, "code": ""} == {**two, "code": ""}
    checked = subprocess.run(
        ["openssl", "verify", "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "tls.pem")],
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"enrol_port": None}, "enrol_port"),
        ({"listen": {"address": "::"}}, "reached_at"),
        ({"state": "relative"}, "absolute"),
    ],
)
def test_what_cannot_be_made_is_told(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    daemon = DaemonProcess(tmp_path, drivers=[table(tmp_path, **change)])
    done = evidock(daemon.config, "device", "enrol", "enotes")
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr


async def test_the_whole_of_it_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = table(tmp_path)
    EnoteTablets.enrol(EnoteTablets.Options.model_validate(made))
    async with DaemonProcess(tmp_path, drivers=[made]) as daemon:
        await daemon.ready()
        config = daemon.config
        await said(config, "enotes", "invite", "--tablet", "TAB-0117", "--badge", "4471", "--name", "PC A. Sample")
        page = (tmp_path / "TAB-0117.invitation.html").read_bytes()
        assert "Sample" in page.decode()
        async with Tablet(tmp_path / "tablet", name="TAB-0117", badge="other") as tablet:
            assert (await tablet.enrol(scanned(page)))["badge"] == "4471", "the invitation says whose it is"
            tablet.signer.badge = "4471"
            note = tablet.notebook.create("Attended 42 Main St.")
            tablet.notebook.correct(note, "42", "24", "wrong house number")
            backup = tablet.notebook.backup()
            tablet.notebook.create("two")
            await tablet.sync()
            urn = tablet.notebook.urn
            listed = json.loads(await said(config, "enotes", "list", "--json"))
            assert (listed["notebooks"][0]["entries"], listed["notebooks"][0]["flagged"]) == (3, 0)
            assert "TAB-0117" in await said(config, "enotes", "list")
            told = json.loads(await said(config, "enotes", "verify", urn[-6:], "--json"))
            assert (told["entries"], told["head"], told["not_in_the_log"]) == (3, 3, [])
            await said(config, "enotes", "render", urn, "--why", "disclosure", "--out", "book.html")
            assert stat.S_IMODE((tmp_path / "book.html").stat().st_mode) == 0o600
            assert "42" in (tmp_path / "book.html").read_text()
            tablet.notebook = backup
            backup.create("two, again")
            await tablet.sync()
        done = await asyncio.to_thread(evidock, config, "enotes", "verify", urn)
        assert done.returncode == 4
        assert "fork" in done.stdout
        await _until_told(config, "enotes.flagged")
        assert "1 entries" in await said(config, "enotes", "seen", urn, "--why", "the officer was asked")
        assert "TAB-0117" in await said(config, "enotes", "revoke", "TAB-0117", "--why", "lost")
        keys = json.loads(await said(config, "enotes", "keys", "--json"))["keys"]
        assert [(key["badge"], key["revoked"]) for key in keys] == [("4471", True)]
        assert "4471" in await said(config, "enotes", "keys")
        # Without a station: what the DEMS holds, and the register.
        (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
        (tmp_path / "book.ndjson").write_bytes(b"\n".join(tablet.notebook.written[:2]) + b"\n")
        words = ("enotes", "verify", "--file", "book.ndjson", "--keys", "keys.json", "--json")
        assert json.loads(await said(config, *words))["entries"] == 2
        for words, sentence in (
            (("enotes", "render", urn), "--why"),
            (("enotes", "verify", "none"), "no notebook"),
            (("enotes", "revoke", "TAB-9", "--why", "x"), "no tablet"),
            (("enotes", "revoke", "TAB-0117", "--why", "x", "--since", "2999-01-01T00:00:00Z"), "since"),
            (("enotes", "invite", "--tablet", "../x", "--badge", "1"), "tablet"),
        ):
            done = await asyncio.to_thread(evidock, config, *words)
            assert done.returncode in (1, 2, 3), words
            assert sentence in done.stderr, done.stderr
        entries = [
            json.loads(one) for one in (await said(config, "journal", "tail", "--count", "100", "--json")).splitlines()
        ]
        orders = [one["predicate"]["order"] for one in entries if one["predicate"]["event"] == "driver.ordered"]
        assert [one["word"] for one in orders] == ["invite", "read", "read", "read", "seen", "revoke"]
        assert orders[2]["detail"]["why"] == "disclosure"


async def test_entries_of_no_notebook_can_be_looked_at(tmp_path: Path) -> None:
    made = table(tmp_path)
    page = EnoteTablets.enrol(EnoteTablets.Options.model_validate(made)).content
    async with DaemonProcess(tmp_path, drivers=[made]) as daemon:
        await daemon.ready()
        none = await asyncio.to_thread(evidock, daemon.config, "enotes", "verify", "unplaced")
        assert "no entry without a notebook" in none.stderr
        async with Tablet(tmp_path / "tablet") as tablet:
            await tablet.enrol(scanned(page))
            astray = tablet.signer.sign({"text": "of no notebook"}, "enote+jws", "enote-entry+json")
            await tablet.send([jcs.canonicalize(astray)])
        await _until_told(daemon.config, "evidock enotes verify unplaced")
        done = await asyncio.to_thread(evidock, daemon.config, "enotes", "verify", "unplaced")
        assert (done.returncode, "unknown_key" in done.stdout) == (4, True), done.stderr
        done = await asyncio.to_thread(evidock, daemon.config, "enotes", "render", "unplaced", "--why", "x")
        assert "verify unplaced" in done.stderr


async def _until_told(config: Path, notice: str) -> None:
    until = time.monotonic() + 20
    while notice not in await said(config, "status", "--json"):
        assert time.monotonic() < until
        await asyncio.sleep(0.2)
