"""Who this station is to others: the fingerprint of its log's key, and the certificate that it shows to the DEMS.

certificate   its request, its installation, and how long it still holds
est           having it made and renewed by the agency's server (RFC 7030)
"""

from agent.identity.certificate import (
    CERTIFICATE,
    Certificate,
    Expiry,
    expiries,
    fingerprint,
    install,
    look,
    pending_key,
    request,
)

__all__ = [
    "CERTIFICATE",
    "Certificate",
    "Expiry",
    "expiries",
    "fingerprint",
    "install",
    "look",
    "pending_key",
    "request",
]
