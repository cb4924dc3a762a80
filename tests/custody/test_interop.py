"""What we publish, read by programs of others: Go's checksum database, openssl, and a short shell script."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.custody.policy import parse
from agent.custody.proof import Proof, check_proof
from agent.custody.receipt import ReceiptNote, write
from agent.custody.tiles import new_tiles, write_bundle
from agent.merkle import Frontier, TileReader, consistency_proof, inclusion_proof, leaf_hash, subtree_root
from agent.note import Signer, encode64, sign

pytestmark = pytest.mark.interop

ORIGIN = "edge.example.org/dock-0042/log1"
AT = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)
agent = Signer.ed25519(ORIGIN, hashlib.sha256(b"test device key").digest())
dems = Signer.cosigner("dems.example.org/witness1", hashlib.sha256(b"test dems witness key").digest())


class Published:
    """A log of `size` entries, with everything that the agent would publish of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries = [b'{"entry":%d}' % n for n in range(size)]
        self.leaves = b"".join(map(leaf_hash, self.entries))
        self.hashes = TileReader(self.tile, size)
        head = Checkpoint(ORIGIN, size, Frontier.at(size, self.hashes).root())
        self.checkpoint = sign_checkpoint(head, agent, dems.at(AT))

    def tile(self, level: int, index: int, width: int) -> bytes:
        first = index * 256
        if level == 0:
            return self.leaves[first * 32 : (first + width) * 32]
        return b"".join(subtree_root(self.tile(level - 1, at, 256)) for at in range(first, first + width))

    def proof(self, index: int) -> Proof:
        return Proof(index, tuple(inclusion_proof(index, self.size, self.hashes)), self.checkpoint)


def lines(hashes: list[bytes] | tuple[bytes, ...]) -> str:
    return "".join(f"{encode64(one)}\n" for one in hashes)


@pytest.fixture(scope="session")
def sumdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of sumdb.go, built without any network from the packages of the distribution."""
    go = shutil.which("go") or next(map(str, sorted(Path("/usr/lib").glob("go-*/bin/go"))), None)
    sources = Path("/usr/share/gocode")
    if go is None or not (sources / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go and golang.org/x/mod are not installed (Debian: golang-go golang-golang-x-mod-dev)")
    folder = tmp_path_factory.mktemp("sumdb")
    env = os.environ | {"GO111MODULE": "off", "GOPATH": str(sources), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    source = Path(__file__).parent / "sumdb.go"
    subprocess.run([go, "build", "-o", folder / "sumdb", source], check=True, env=env, cwd=folder)
    return folder / "sumdb"


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300, 700, 66_000])
def test_the_checksum_database_reads_our_log(sumdb: Path, size: int, tmp_path: Path) -> None:
    published = Published(size)
    (tmp_path / "checkpoint").write_bytes(published.checkpoint)
    (tmp_path / "entries").write_bytes(
        b"".join(write_bundle(published.entries[at : at + 256]) for at in range(0, size, 256))
    )
    indexes = sorted({0, 1, 137, 255, 256, size // 2, size - 1} & {*range(size)})
    for index in indexes:
        file = tmp_path / "proofs" / str(index)
        file.parent.mkdir(exist_ok=True)
        file.write_text(lines(published.proof(index).hashes))
    olds = sorted({1, 2, 100, 128, 255, 256, size // 3, size - 1, size} & {*range(1, size + 1)})
    for old in olds:
        file = tmp_path / "consistency" / str(old)
        file.parent.mkdir(exist_ok=True)
        file.write_text(lines(consistency_proof(old, size, published.hashes)))
    tiles = [tile for tile in new_tiles(0, size) if tile.level is not None]
    for tile in tiles:
        file = tmp_path / tile.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(published.tile(tile.level or 0, tile.index, tile.width))
    done = subprocess.run([sumdb, tmp_path, agent.vkey], capture_output=True, text=True, check=False)
    said = f"{size} entries, {len(indexes)} proofs, {len(olds)} consistency proofs, {len(tiles)} tiles"
    assert (done.stdout.strip(), done.stderr) == (said, "")


@pytest.mark.parametrize("index", [0, 1, 137, 255, 256, 299])
def test_a_shell_script_checks_our_proof(index: int, samples: Path, tmp_path: Path) -> None:
    for tool in ("sh", "openssl", "sha256sum", "xxd"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    published = Published(300)
    raw, entry = published.proof(index).write(), published.entries[index]
    policy = parse(f"log {agent.vkey}\nwitness dems {dems.vkey}\nquorum dems\n")
    assert check_proof(raw, entry, policy, log=ORIGIN, index=index).cosigned_at == AT
    (tmp_path / "entry").write_bytes(entry)
    (tmp_path / "changed").write_bytes(entry + b"\n")
    (tmp_path / "proof").write_bytes(raw)
    (tmp_path / "log.pem").write_bytes(agent.verifier.pem())
    script = samples / "small/verify.sh"
    done = subprocess.run(
        ["sh", script, "entry", "proof", "log.pem", ORIGIN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, f"inclusion of entry {index} in tree of size 300: OK" in done.stdout) == (0, True)
    changed = ["sh", script, "changed", "proof", "log.pem", ORIGIN]
    assert subprocess.run(changed, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_openssl_checks_our_receipt(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    receipts = Signer.ed25519("dems.example.org/receipts", bytes(32))
    note = sign(write(ReceiptNote("capture", bytes(32), 1, ORIGIN, 0, AT, 1)), receipts)
    (tmp_path / "key.pem").write_bytes(receipts.verifier.pem())
    (tmp_path / "receipt.note").write_bytes(note)
    # What a stranger types: the text is what stands above the last empty line, the signature what follows the key id.
    by_hand = """
        sed -n '/^$/q;p' receipt.note > text
        tail -1 receipt.note | awk '{print $3}' | base64 -d | tail -c +5 > signature
        openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in text -sigfile signature
    """
    done = subprocess.run(["sh", "-c", by_hand], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Signature Verified Successfully"
