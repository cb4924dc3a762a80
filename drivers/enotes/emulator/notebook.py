"""An officer's notebook: each act is an entry, signed, that names the one before it. Nothing is ever changed."""

from __future__ import annotations

import copy
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jcs
from blake3 import blake3
from jwcrypto import jwk, jws

__all__ = ["File", "Notebook", "Signer"]


class Signer:
    """A signing key and who it is of."""

    def __init__(self, badge: str, name: str, key: jwk.JWK | None = None) -> None:
        self.badge, self.name = badge, name
        self.key = key or jwk.JWK.generate(kty="EC", crv="P-256")
        self.alg = "ES256" if self.key.get("kty") == "EC" else "EdDSA"

    @property
    def kid(self) -> str:
        """RFC 7638."""
        return str(self.key.thumbprint())

    @property
    def public(self) -> dict[str, Any]:
        """The public half, as a JWK."""
        told: dict[str, Any] = json.loads(self.key.export_public())
        return told

    def sign(self, value: dict[str, Any], typ: str, cty: str, **header: Any) -> dict[str, str]:  # noqa: ANN401
        """A flattened JWS over canonical JSON."""
        token = jws.JWS(jcs.canonicalize(value))
        protected = jcs.canonicalize({"alg": self.alg, "cty": cty, "kid": self.kid, "typ": typ, **header})
        token.add_signature(self.key, None, protected.decode(), None)
        told: dict[str, str] = json.loads(token.serialize())
        return {name: told[name] for name in ("payload", "protected", "signature")}


@dataclass
class File:
    """A file beside a note."""

    notebook: str
    seq: int
    name: str
    data: bytes

    @property
    def told(self) -> dict[str, Any]:
        """As its entry names it."""
        return {
            "blake3": blake3(self.data).hexdigest(),
            "length": len(self.data),
            "media_type": "image/jpeg",
            "name": self.name,
            "sha256": sha256(self.data).hexdigest(),
        }


@dataclass
class Page:
    """One note, as the tablet shows it."""

    text: str = ""
    rev: int = 0
    text_rev: int = 0
    final_rev: int = 0


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def new_uuid() -> str:
    """UUIDv7 (RFC 9562 section 5.7)."""
    at = time.time_ns() // 1_000_000
    raw = bytearray(at.to_bytes(6, "big") + secrets.token_bytes(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return f"urn:uuid:{uuid.UUID(bytes=bytes(raw))}"


@dataclass
class Notebook:
    """What is written here waits in `outbox` until a receipt names it."""

    signer: Signer
    device: str = "TAB-0117"
    urn: str = field(default_factory=new_uuid)
    seq: int = 0
    prev: str | None = None
    pages: dict[str, Page] = field(default_factory=dict)
    outbox: list[bytes] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    clock_off: timedelta = timedelta(0)
    """How far this tablet's clock is off."""

    def backup(self) -> Notebook:
        """A copy of all of it: whoever writes on in both makes a fork."""
        made = copy.deepcopy({name: value for name, value in vars(self).items() if name != "signer"})
        return Notebook(signer=self.signer, **made)

    def now(self) -> datetime:
        """By the tablet's clock."""
        return datetime.now(UTC) + self.clock_off

    def write(self, op: str, note: str, signer: Signer | None = None, **members: Any) -> bytes:  # noqa: ANN401
        """Make an entry, sign it and put it into the outbox."""
        signer, page = signer or self.signer, self.pages.setdefault(note, Page())
        page.rev += 1
        self.seq += 1
        entry = {
            "author": {"badge": signer.badge, "name": signer.name},
            "clock": {"offset_ms": None, "source": "network", "uncertainty_ms": 60},
            "device": {"app": "enote-emulator", "app_version": "1.0.0", "id": self.device},
            "note": note,
            "notebook": self.urn,
            "occurred_at": None,
            "op": op,
            "prev": self.prev,
            "recorded_at": stamp(self.now()),
            "rev": page.rev,
            "seq": self.seq,
            "typ": "enote-entry",
            "v": 1,
            **members,
        }
        envelope = signer.sign(entry, "enote+jws", "enote-entry+json")
        self.prev = f"sha-256:{sha256(jcs.canonicalize(envelope)).hexdigest()}"
        line: bytes = jcs.canonicalize(envelope)
        self.outbox.append(line)
        self.written.append(line)
        return line

    def create(self, text: str, note: str | None = None, **members: Any) -> str:  # noqa: ANN401
        """Begin a note; its name."""
        note = note or f"n-{len(self.pages) + 1:04}"
        self.write("create", note, text=text, **{"kind": "occurrence", **members})
        page = self.pages[note]
        page.text, page.text_rev = text, page.rev
        return note

    def append(self, note: str, text: str) -> bytes:
        """More text."""
        line = self.write("append", note, text=text)
        page = self.pages[note]
        page.text, page.text_rev = page.text + text, page.rev
        return line

    def correct(self, note: str, old: str, new: str, reason: str) -> bytes:
        """Strike `old` out, and put `new` behind it. Places are counted in code points, as Python counts."""
        page = self.pages[note]
        at = page.text.index(old)
        text = page.text[:at] + new + page.text[at + len(old) :]
        ops = [{"at": [at, at + len(old)], "op": "strike", "with": new}]
        line = self.write("correct", note, text=text, reason=reason, supersedes=page.text_rev, ops=ops)
        page.text, page.text_rev = text, page.rev
        return line

    def attach(self, note: str, *files: tuple[str, bytes]) -> list[File]:
        """Name files by their digests; the bytes wait until their entry is held."""
        made = [File(self.urn, self.seq + 1, name, data) for name, data in files]
        self.write("attach", note, attachments=[file.told for file in made])
        self.files += made
        return made

    def finalize(self, note: str) -> bytes:
        """Lock the text."""
        page = self.pages[note]
        line = self.write("finalize", note, text_sha256=sha256(page.text.encode()).hexdigest())
        page.final_rev = page.rev
        return line

    def supplement(self, note: str, text: str) -> bytes:
        """Add to what is final."""
        return self.write("supplement", note, text=text, supplements=self.pages[note].final_rev)
