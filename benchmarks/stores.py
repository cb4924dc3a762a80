"""`python -m benchmarks.stores`: one capture to OpenStack Swift, by our uplink, aws-cli and rclone, interleaved.

    python -m benchmarks.stores --mib 256 --runs 3          plain HTTP on loopback
    python -m benchmarks.stores --tls                       behind socat, as TLS

Each client is a process of its own; ours reads the capture from a spool as the daemon does, proves it against the
journal's digests on the way, states SHA-256 of each part and reads nothing back. Ratios are of medians. A daemon runs
already, so the start of our interpreter is not in it; that of the others, by their word for `version`, is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import hashlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
from blake3 import blake3
from botocore.config import Config
from botocore.session import Session

from agent.capture import PART_LENGTH, Digest, Holding, Origin, Parts, Priority, Standing, capture_id
from agent.spool import Spool
from agent.uplink.s3 import S3Uplink
from benchmarks.measured import Measured, Series, command, quoted
from tests.uplinks import swift

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

MIB = 1 << 20
BUCKET = "measured"


def main() -> None:
    """Measure, or be the process that is measured."""
    if sys.argv[1:2] == ["send"]:
        asyncio.run(_send(json.loads(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=main.__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tls", action="store_true")
    chosen = parser.parse_args()
    if (why := swift.missing()) is not None:
        parser.exit(1, f"{why}\n")
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, load {load}\n")
    with tempfile.TemporaryDirectory(prefix="evidock-stores-") as name:
        folder = Path(name)
        (folder / "swift").mkdir()
        with swift.Swift(folder / "swift") as store:
            measure(folder, store, chosen.mib * MIB, chosen.runs, tls=chosen.tls)


def measure(folder: Path, store: swift.Swift, length: int, runs: int, *, tls: bool) -> None:
    """Run every client, one after the other, as often as asked for; print the table."""
    key, _, secret = swift.KEYS.rpartition(":")
    words = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    asked = Session().create_client("s3", endpoint_url=f"http://127.0.0.1:{store.port}", config=config, **words)
    asked.create_bucket(Bucket=BUCKET)
    film = folder / "film"
    with film.open("wb") as file:
        for _ in range(length // MIB):
            file.write(os.urandom(MIB))
    port, ca = _terminated(folder, store.port, atexit.register) if tls else (store.port, None)
    url = f"{'https' if tls else 'http'}://localhost:{port}"
    _spooled(folder, film)
    series = {name: Series(name) for name in _clients(folder, film, url, ca, 0)}
    for number in range(runs):
        for name, (line, start) in _clients(folder, film, url, ca, number).items():
            print(f"{number + 1}/{runs} {name} ...", file=sys.stderr)
            series[name].runs.append(_told(line) if start is None else _without_start(line, start))
            found = list(_objects(asked))
            if [size for _, size in found] != [length]:
                sys.exit(f"{name} left {found}")
            for one, _ in found:
                asked.delete_object(Bucket=BUCKET, Key=one)
    print(f"{length // MIB} MiB, {'TLS' if tls else 'plain HTTP'}, {runs} runs\n")
    print("| client | median | range | processor | memory |\n| --- | --- | --- | --- | --- |")
    for one in series.values():
        print(one.row(length / 1e6, "MB/s"))
    ours = next(iter(series.values()))
    for one in list(series.values())[1:]:
        wall = one.median / ours.median
        cpu = statistics.median(run.cpu for run in ours.runs) / statistics.median(run.cpu for run in one.runs)
        print(f"\nagainst {one.name}: {wall:.2f} of its rate, {cpu:.2f} of its processor time", end="")
    print()


def _clients(folder: Path, film: Path, url: str, ca: Path | None, number: int) -> dict[str, tuple[str, str | None]]:
    """For each client that is here a shell line, and one in which it only starts."""
    key, _, secret = swift.KEYS.rpartition(":")
    told = {"folder": str(folder), "url": url, "ca": None if ca is None else str(ca), "prefix": f"run-{number}/"}
    ours = f"{sys.executable} -m benchmarks.stores send {_quoted(json.dumps(told))}"
    lines: dict[str, tuple[str, str | None]] = {"Evidock (4 parts of 16 MiB, SHA-256)": (ours, None)}
    aws, rclone = swift.HOME / "bin" / "aws", shutil.which("rclone")
    keys = f"env -u AWS_CA_BUNDLE AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_EC2_METADATA_DISABLED=true"
    if aws.exists():
        home = folder / "aws"
        home.write_text("[default]\ns3 =\n  multipart_chunksize = 16MB\n  max_concurrent_requests = 4\n")
        bundle = "" if ca is None else f"--ca-bundle {quoted(ca)}"
        base = f"{keys} AWS_CONFIG_FILE={quoted(home)} {quoted(aws)} {bundle} --region us-east-1 --endpoint-url {url}"
        copy = f"s3 cp --no-progress {quoted(film)} s3://{BUCKET}/aws-{number}"
        lines["aws s3 cp (4 x 16 MiB, SHA-256)"] = f"{base} {copy} --checksum-algorithm SHA256", f"{aws} --version"
        lines["aws s3 cp (4 x 16 MiB, CRC)"] = f"{base} {copy}", f"{aws} --version"
    if rclone is not None:
        words = f"--s3-provider Other --s3-env-auth --s3-endpoint {url} --s3-force-path-style --s3-no-check-bucket"
        words += " --s3-chunk-size 16M --s3-upload-concurrency 4 --retries 1 --config /dev/null"
        words += "" if ca is None else f" --ca-cert {quoted(ca)}"
        lines["rclone copyto (4 x 16 MiB, MD5)"] = (
            f"{keys} {rclone} {words} copyto {quoted(film)} :s3:{BUCKET}/rclone-{number}",
            f"{rclone} version",
        )
    return lines


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _objects(asked: object) -> Iterator[tuple[str, int]]:
    for one in asked.list_objects_v2(Bucket=BUCKET).get("Contents", ()):  # type: ignore[attr-defined]
        yield one["Key"], one["Size"]


def _without_start(line: str, start: str) -> Measured:
    whole, began = command(line), command(start)
    return Measured(whole.seconds - began.seconds, whole.cpu - began.cpu, whole.memory)


def _told(line: str) -> Measured:
    """What our own process says of its sending, without the start of the interpreter: a daemon runs already."""
    done = subprocess.run(["sh", "-ec", line], stdout=subprocess.PIPE, check=True)
    return Measured(**json.loads(done.stdout))


def _terminated(folder: Path, port: int, at_end: Callable[[Callable[[], None]], object]) -> tuple[int, Path]:
    """TLS by socat before the store, until the end."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")
    free = swift._free()  # noqa: SLF001 - the tests' own
    listen = f"OPENSSL-LISTEN:{free},bind=127.0.0.1,fork,reuseaddr,cert={folder / 'tls.pem'},verify=0"
    at_end(subprocess.Popen(["socat", listen, f"TCP:127.0.0.1:{port}"]).kill)
    time.sleep(1)
    return free, folder / "ca.pem"


# -- the process that is measured --------------------------------------------------------------------------------------


def _spooled(folder: Path, film: Path) -> None:
    """Put the film where a spool keeps it, with what a journal would know of it."""
    whole, fast, through = hashlib.sha256(), blake3(), []
    with film.open("rb") as file:
        while part := file.read(PART_LENGTH):
            whole.update(part)
            fast.update(part)
            through.append(whole.digest().hex())
    kept = folder / "spool" / "kept"
    kept.mkdir(parents=True)
    os.link(film, kept / whole.hexdigest())
    facts = {"sha256": whole.hexdigest(), "blake3": fast.hexdigest(), "length": film.stat().st_size, "through": through}
    (folder / "facts.json").write_text(json.dumps(facts))
    (folder / "keys").write_text(swift.KEYS)


class _Sending:
    """See `agent.uplink.Sending`: a spool, and nobody else who wants to send."""

    def __init__(self, spool: Spool, holding: Holding) -> None:
        self._spool, self.holding = spool, holding
        self._state: str | None = None

    def blocks(self, offset: int, length: int, /) -> AsyncIterator[bytes]:
        return self._spool.blocks(self.holding.digest.sha256, offset, length)

    outgoing = blocks

    async def turn(self, _: int, /) -> None: ...

    async def sha256_through(self, offset: int, /) -> bytes:
        raise NotImplementedError

    async def class_kept(self) -> Priority:
        return self.holding.priority

    def recall(self) -> str | None:
        return self._state

    async def remember(self, state: str | None, /) -> None:
        self._state = state

    def progress(self, offset: int, /) -> None: ...


async def _send(told: dict[str, str]) -> None:
    folder = Path(told["folder"])
    facts = json.loads((folder / "facts.json").read_text())
    now, origin = datetime.now(UTC), Origin("bench:1", "CLIP0001.MP4", None)
    digest = Digest(bytes.fromhex(facts["sha256"]), bytes.fromhex(facts["blake3"]), facts["length"])
    holding = Holding(
        id=capture_id(origin, digest.sha256),
        origin=origin,
        digest=digest,
        standing=Standing.HELD,
        log="bench.example.org/log1",
        index=1,
        held_at=now,
        changed_at=now,
        priority=Priority.ROUTINE,
        media_type="video/mp4",
        parts=Parts(through=bytes.fromhex("".join(facts["through"]))),
    )
    spool = Spool(folder / "spool", watermark=0, read_back=False, boot_id="bench")
    words = {"endpoint": told["url"], "bucket": BUCKET, "keys_file": folder / "keys", "ca_file": told["ca"]}
    uplink = S3Uplink(S3Uplink.Options.model_validate({"use": "s3", "name": "s", **words, "prefix": told["prefix"]}))
    await uplink.probe()  # once a day: whether the store compares
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    receipt = await uplink.send(_Sending(spool, holding))
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    if receipt.sha256 != digest.sha256:
        sys.exit("the store proves no digest")
    await uplink.aclose()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": after.ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
