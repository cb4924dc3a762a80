"""What an emulated DEMS is started with: the same values in a test, in a process of its own and on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_KEY_NAME", "DEFAULT_WITNESS_NAME", "DemsOptions"]

DEFAULT_KEY_NAME: Final = "dems.example.org/receipts"
"""Name that receipts are signed under where nothing else is said."""

DEFAULT_WITNESS_NAME: Final = "dems.example.org/witness1"
"""Name that checkpoints are cosigned under where nothing else is said."""


@dataclass(frozen=True, slots=True)
class DemsOptions:
    """Everything that can be chosen. Only the folder must be."""

    folder: Path
    """Stored files, the database, the receipt key and the certificates lie here."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: the system chooses one that is free."""
    tls: bool = False
    """HTTPS; with a certificate made for this folder unless `certificate` and `private_key` are given."""
    certificate: Path | None = None
    """PEM chain to serve with."""
    private_key: Path | None = None
    """PEM key that belongs to `certificate`."""
    receipts: bool = True
    """Sign receipts, demand the claims that they need, and know a capture again."""
    checksums: bool = True
    """Offer the checksum extension; without it `Upload-Checksum` is ignored, as tusd does."""
    bundles: bool = True
    """Take several small captures in one request, where receipts are signed."""
    key_name: str = DEFAULT_KEY_NAME
    """Name of the receipt key."""
    key_file: Path | None = None
    """Receipt key; made at the first start. Default: `receipt.key` in the folder."""
    witness_name: str = DEFAULT_WITNESS_NAME
    """Name of the witness's key, which lies in the folder as `witness.key`."""
    enrol: bool = True
    """Watch a log that nobody named from its first request on; a real witness is told by its administrator."""
    tsa: bool = False
    """Be a time stamping authority too (`POST /tsa`), by `openssl ts`; its certificates are made for this folder."""
    drills: bool = True
    """Give back what a station sent to try itself (`GET` at the upload's URL); evidence is never given back."""
    faults: bool = False
    """Let anybody who can reach the port inject faults over HTTP."""
    max_size: int = 1 << 40
    """Longest upload in bytes (`Tus-Max-Size`)."""
    max_append_size: int | None = None
    """Longest body of one request over the IETF's protocol, in bytes."""
    min_append_size: int | None = None
    """Shortest one that is not the last."""
    expires_after: float = 86400.0
    """Seconds after which an upload that received nothing is given up."""
    patience: float = 60.0
    """Seconds without a byte of a body after which the request is ended and its upload is free again."""

    @property
    def plain(self) -> bool:
        """No checksums and no receipts: what tusd offers."""
        return not self.receipts and not self.checksums
