"""Servers and clients of other authors put recordings into the folder: OpenSSH, Samba, pyftpdlib, curl."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.capture import Standing
from agent.testing.ports import free_port
from agent.testing.probe import Probe
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from tests.drivers.interview_room.long import long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drivers.interview_room.drop_folder import DropFolder
    from drivers.interview_room.drop_folder.emulator import RecorderEmulator

pytestmark = [
    pytest.mark.proves("interview_room.drop_folder", peer="OpenSSH, Samba, pyftpdlib, curl"),
    pytest.mark.interop,
]

FILM = os.urandom(2_500_000)


def wait_for(port: int, server: subprocess.Popen[bytes], said: Path) -> None:
    for _ in range(400):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, said.read_text(errors="replace")
        time.sleep(0.05)
    raise AssertionError(said.read_text(errors="replace"))


@contextmanager
def server(command: list[str], port: int, said: Path) -> Iterator[None]:
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(port, process, said)
        yield
    finally:
        process.terminate()
        process.wait(10)


async def exactly(station: Station, expected: dict[str, bytes]) -> None:
    await held(station, len(expected))
    await asyncio.sleep(0.3)
    found = {
        one.origin.key: b"".join(station.spool.read(one.digest.sha256))
        for one in await station.holdings()
        if one.standing is Standing.HELD
    }
    assert found.keys() == expected.keys()
    assert all(found[key] == data for key, data in expected.items())
    await station.verify()


# -- OpenSSH -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[bytes]]]:
    """An sshd with internal-sftp alone, as docs/interview-rooms.md says, and OpenSSH's own client."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("sftp") is None or os.getuid() != 0:
        pytest.skip("openssh-server or sftp is not here, or this is not root")
    port, keys = free_port(), tmp_path / "ssh"
    keys.mkdir(mode=0o700)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "recorder"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
    config = keys / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/recorder.pub\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
        f"PidFile none\nSubsystem sftp internal-sftp\nForceCommand internal-sftp -d {tmp_path}/room\n"
    )

    def batch(*lines: str) -> subprocess.CompletedProcess[bytes]:
        options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={keys}/known", "BatchMode=yes"]
        command = ["sftp", "-q", "-P", str(port), "-i", str(keys / "recorder"), "-b", "-"]
        command += [word for option in options for word in ("-o", option)]
        return subprocess.run(
            [*command, "root@127.0.0.1"], input="\n".join(lines).encode(), capture_output=True, check=False
        )

    with server([sshd, "-D", "-e", "-f", str(config)], port, tmp_path / "sshd.log"):
        yield batch


async def test_sftp_with_a_temporary_name_then_renamed(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path,
    sftp: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:  # fmt: skip
    source = tmp_path / "film"
    source.write_bytes(FILM)
    async with Station(tmp_path / "station") as station, running(made(), station):
        done = await asyncio.to_thread(
            sftp, "mkdir interview-1", f"put {source} interview-1/cam1.mp4.filepart",
            "rename interview-1/cam1.mp4.filepart interview-1/cam1.mp4", f"put {source} interview-1/cam2.mp4",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        await exactly(station, {"interview-1/cam1.mp4": FILM, "interview-1/cam2.mp4": FILM})
        assert {one.group for one in await station.holdings()} == {"interview-1"}


@long
async def test_sftp_that_was_cut_and_goes_on(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path,
    sftp: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:  # fmt: skip
    """`reput` continues a file that stood still for long: a side-car is asked for, so nothing was taken before."""
    source = tmp_path / "film"
    source.write_bytes(FILM)
    (recorder.folder / "film.mp4").write_bytes(FILM[:1_000_000])
    probe = Probe()
    driver = made(complete="side-car")
    async with running(driver, probe):
        await until(lambda: driver._sorted is not None and len(driver._sorted.waiting) == 1)
        await asyncio.sleep(0.5)
        assert not probe.offered
    async with Station(tmp_path / "station") as station, running(made(complete="side-car"), station):
        proof = tmp_path / "proof"
        proof.write_text(f"{sha256(FILM).hexdigest()}  film.mp4\n")
        done = await asyncio.to_thread(sftp, f"reput {source} film.mp4", f"put {proof} film.mp4.sha256")
        assert done.returncode == 0, done.stderr
        await exactly(station, {"film.mp4": FILM, "film.mp4.sha256": proof.read_bytes()})


# -- FTP ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[str]:
    """pyftpdlib in a process of its own: some Pythons warn of a module that it uses."""
    (tmp_path / "room").mkdir(exist_ok=True)
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", str(port), "-w"]
    command += ["-u", "recorder", "-P", "secret", "-d", str(tmp_path / "room")]
    with server(command, port, tmp_path / "ftp.log"):
        yield f"ftp://recorder:secret@127.0.0.1:{port}"


@long
async def test_ftp_with_a_slow_client(made: Callable[..., DropFolder], tmp_path: Path, ftp: str) -> None:
    source = tmp_path / "film"
    source.write_bytes(FILM)
    async with Station(tmp_path / "station") as station, running(made(), station):
        command = ["curl", "-sS", "--limit-rate", "2M", "--ftp-create-dirs", "-T", str(source), f"{ftp}/one/film.mp4"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        await exactly(station, {"one/film.mp4": FILM})


@long
async def test_ftp_that_was_aborted_leaves_a_file_that_looks_complete(
    made: Callable[..., DropFolder], tmp_path: Path, ftp: str
) -> None:
    """Without a side-car nothing tells it from a short film: with one that is asked for, it waits."""
    source = tmp_path / "film"
    source.write_bytes(FILM)
    driver, probe = made(complete="side-car"), Probe()
    async with running(driver, probe):
        client = subprocess.Popen(["curl", "-sS", "--limit-rate", "500k", "-T", str(source), f"{ftp}/film.mp4"])  # noqa: ASYNC220
        landed = tmp_path / "room" / "film.mp4"
        await until(lambda: landed.exists() and landed.stat().st_size > 0)
        client.kill()
        client.wait(10)
        await until(
            lambda: [one.why for one in driver._sorted.waiting if driver._sorted] == ["its side-car is not here"]
        )
        assert not probe.offered
        done = await asyncio.to_thread(
            subprocess.run,
            ["curl", "-sS", "-C", "-", "-T", str(source), f"{ftp}/film.mp4"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        proof = tmp_path / "proof"
        proof.write_text(sha256(FILM).hexdigest())
        await asyncio.to_thread(subprocess.run, ["curl", "-sS", "-T", str(proof), f"{ftp}/film.mp4.sha256"], check=True)
        await until(lambda: "film.mp4" in probe.keys)
        (film,) = [one for one in probe.offered if one.capture.key == "film.mp4"][:1]
        assert film.capture.length == len(FILM)


# -- Samba -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def smb(tmp_path: Path) -> Iterator[int]:
    smbd = shutil.which("smbd", path=f"{os.environ['PATH']}:/usr/sbin")
    if smbd is None or shutil.which("smbclient") is None or os.getuid() != 0:
        pytest.skip("samba or smbclient is not here, or this is not root")
    port, own = free_port(), tmp_path / "samba"
    own.mkdir()
    (tmp_path / "room").mkdir(exist_ok=True)
    places = ("lock", "state", "cache", "pid", "private", "ncalrpc")
    for place in places:
        (own / place).mkdir(mode=0o755)
    lines = [
        f"{place} dir{'ectory' if place not in ('private', 'ncalrpc') else ''} = {own / place}" for place in places
    ]
    config = own / "smb.conf"
    config.write_text(
        "[global]\nserver role = standalone server\nmap to guest = Bad User\nguest account = root\n"
        f"smb ports = {port}\ninterfaces = lo\nbind interfaces only = yes\nload printers = no\ndisable spoolss = yes\n"
        "log level = 1\nbind interfaces only = yes\n" + "\n".join(lines) + "\n"
        f"[room]\npath = {tmp_path}/room\nguest ok = yes\nread only = no\nforce user = root\n"
    )
    command = [smbd, "--foreground", "--no-process-group", "--debug-stdout", f"--configfile={config}"]
    with server(command, port, tmp_path / "smbd.log"):
        yield port


def put(port: int, source: Path, name: str) -> subprocess.CompletedProcess[bytes]:
    command = ["smbclient", "//127.0.0.1/room", "-p", str(port), "-N", "-c", f'put "{source}" "{name}"']
    return subprocess.run(command, capture_output=True, check=False)


@long
async def test_a_samba_share_that_this_station_serves(
    made: Callable[..., DropFolder], tmp_path: Path, smb: int
) -> None:
    source = tmp_path / "film"
    source.write_bytes(FILM)
    async with Station(tmp_path / "station") as station, running(made(), station):
        done = await asyncio.to_thread(put, smb, source, "Interview Room 1 (back).mp4")
        assert done.returncode == 0, done.stdout
        await exactly(station, {"Interview Room 1 (back).mp4": FILM})


@contextmanager
def mounted(port: int, point: Path, log: Path) -> Iterator[str]:
    """By the kernel where it has a client for SMB, else by rclone, which has one of its own."""
    point.mkdir()
    command = ["mount", "-t", "cifs", "//127.0.0.1/room", str(point), "-o", f"guest,port={port},vers=3.0"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode == 0:
        try:
            yield "cifs"
        finally:
            subprocess.run(["umount", "-l", str(point)], check=False)
        return
    if shutil.which("rclone") is None or shutil.which("fusermount") is None:
        pytest.skip(f"neither the kernel nor rclone mounts an SMB share here: {done.stderr.strip()}")
    command = ["rclone", "mount", ":smb:room", str(point), "--smb-host", "127.0.0.1", "--smb-port", str(port)]
    command += ["--smb-user", "nobody", "--vfs-cache-mode", "off", "--dir-cache-time", "0", "--attr-timeout", "0"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--config", ""], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    try:
        for _ in range(400):
            if point.is_mount():
                break
            if process.poll() is not None:
                pytest.skip(f"rclone mounts nothing here: {log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield "fuse"
    finally:
        process.terminate()
        process.wait(10)
        subprocess.run(["fusermount", "-uz", str(point)], check=False, capture_output=True)


async def test_a_samba_share_that_is_mounted_here(made: Callable[..., DropFolder], tmp_path: Path, smb: int) -> None:
    """Two servers' worth of network between recorder and station: smbclient puts, a mounted share is read."""
    source, point = tmp_path / "film", tmp_path / "mounted"
    source.write_bytes(FILM)
    with mounted(smb, point, tmp_path / "mount.log"):
        driver = made(folder=point, share=point)
        async with Station(tmp_path / "station") as station, running(driver, station):
            for number in (1, 2):
                done = await asyncio.to_thread(put, smb, source, f"film{number}.mp4")
                assert done.returncode == 0, done.stdout
            await exactly(station, {"film1.mp4": FILM, "film2.mp4": FILM})
