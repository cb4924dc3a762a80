"""Opens a blob with Microsoft's own library: python azure_reader.py URL AGENCY_KEY.pem KEY_ID > PLAIN."""

import sys
from pathlib import Path

from azure.storage.blob import BlobClient
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding


class AgencyKey:
    """What the library asks of a key."""

    def __init__(self, path: str, name: str) -> None:
        self._key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
        self._name = name

    def get_kid(self) -> str:
        return self._name

    def get_key_wrap_algorithm(self) -> str:
        return "RSA-OAEP"

    def unwrap_key(self, key: bytes, algorithm: str) -> bytes:
        assert algorithm == "RSA-OAEP"
        return self._key.decrypt(key, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))  # noqa: S303

    def wrap_key(self, key: bytes) -> bytes:
        raise NotImplementedError


blob = BlobClient.from_blob_url(
    sys.argv[1],
    api_version="2021-12-02",
    require_encryption=True,
    key_encryption_key=AgencyKey(sys.argv[2], sys.argv[3]),
)
sys.stdout.buffer.write(blob.download_blob().readall())
