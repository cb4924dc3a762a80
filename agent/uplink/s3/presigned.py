"""A request to the store in the form in which the agency's broker signed it: what may change on the way, and what not.

A broker gives an address with a signature (AWS Signature Version 4, in the query) and may add headers of its own. It
decides nothing else: the address must be the one of our own request, so that evidence goes to this bucket, under this
name and by this operation, or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agent.capture import printable
from agent.errors import UplinkDown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Signed", "placed"]

_DIGEST: Final = "x-amz-checksum-sha256"
_HEADERS_MAX: Final = 64
_HINT: Final = "The administrator of the agency's broker must look at it: docs/s3-broker.md says what is expected."
_PORTS: Final = {"http": 80, "https": 443}

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,128}$")]
_Value = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,4096}$")]


class Signed(BaseModel):
    """What the broker answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,8192}$")]
    """The signed address."""
    headers: Annotated[dict[_Name, _Value], Field(max_length=_HEADERS_MAX)] = Field(default_factory=dict)
    """Headers that it has signed and that we did not ask for, such as a lock; others may stand here too."""


def placed(request: Any, signed: Signed, broker: str) -> bool:  # noqa: ANN401 - botocore's, without types
    """Turn a request of ours into the signed one; False where the digest of its body had to be left out.

    A header of S3's own (`x-amz-...`) that is not signed is left out, for the store would refuse it. So a digest that
    the broker does not sign is not sent; whether the store compares is found out by trying, as always.
    Raises `UplinkDown` where the broker signed another request than ours.
    """
    try:
        ours, theirs = urlsplit(request.url), urlsplit(signed.url)
    except ValueError as error:
        raise UplinkDown(f"{broker} gave something that is no address", hint=_HINT) from error
    if _place(ours) != _place(theirs) or "@" in theirs.netloc or theirs.fragment:
        raise UplinkDown(
            f"{broker} signs for {printable(_shown(theirs))}, and this capture belongs to {printable(_shown(ours))}",
            hint="`endpoint`, `bucket`, `region`, `style` and `prefix` must say the same here and at the broker.",
        )
    asked, told = parse_qsl(ours.query, keep_blank_values=True), parse_qsl(theirs.query, keep_blank_values=True)
    added = {name.lower(): value for name, value in told if (name, value) not in asked}
    changed = any(pair not in told for pair in asked)
    if changed or any(not name.startswith("x-amz-") and name != "x-id" for name in added):
        raise UplinkDown(f"{broker} signed another request than the one that it was asked for", hint=_HINT)
    names = set(added.get("x-amz-signedheaders", "").lower().split(";")) - {"", "host"}
    if "x-amz-signature" not in added or "x-amz-signedheaders" not in added:
        raise UplinkDown(f"{broker} gave an address that is not signed (AWS Signature Version 4)", hint=_HINT)
    headers = _headers(request.headers, {name.lower(): value for name, value in signed.headers.items()}, names, broker)
    states = _DIGEST in names or not any(name.lower() == _DIGEST for name in request.headers)
    for name in list(request.headers):
        if name.lower().startswith("x-amz-") or name.lower() in names:
            del request.headers[name]
    for name, value in headers.items():
        request.headers[name] = value
    request.url = signed.url
    return states


def _headers(ours: Mapping[str, str], theirs: Mapping[str, str], names: set[str], broker: str) -> dict[str, str]:
    """The value of each signed header: the broker's, else ours."""
    mine = {name.lower(): _text(value) for name, value in ours.items()}
    digest = mine.get(_DIGEST)
    if theirs.get(_DIGEST, digest) != digest or theirs.get("if-none-match", "*") != "*":
        raise UplinkDown(f"{broker} signed another digest, or that what is there may be overwritten", hint=_HINT)
    found = {name: theirs.get(name, mine.get(name)) for name in names}
    if missing := sorted(name for name, value in found.items() if value is None):
        raise UplinkDown(f"{broker} signed headers and does not say their values: {', '.join(missing)}", hint=_HINT)
    return {name: value for name, value in found.items() if value is not None}


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _place(url: Any) -> tuple[str, str | None, int | None, str]:  # noqa: ANN401 - a SplitResult
    try:
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        port = None
    return url.scheme, url.hostname, port, unquote(url.path)


def _shown(url: Any) -> str:  # noqa: ANN401 - a SplitResult
    return f"{url.scheme}://{url.netloc}{url.path}"[:300]
