"""What the S3 client raises, each as a sentence and a hint: the one door through which its errors come to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as theirs

from agent.capture import printable
from agent.errors import UplinkDown, UplinkError, UplinkRefused
from agent.uplink.http.answer import seconds_asked
from agent.uplink.http.trouble import tls_trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Answered",
    "DigestUnsigned",
    "Exists",
    "NoUpload",
    "NotPermitted",
    "NotThere",
    "WrongDigest",
    "bounded",
    "outdated",
    "translated",
]

_SENTENCE_MAX: Final = 200


class _Said(UplinkError):
    """An answer that the steps of an upload know what to do about; none of these leaves the uplink."""


class Exists(_Said):
    """An object of this name is there already (412), or was being made at the same moment (409)."""


class NoUpload(_Said):
    """The multipart upload is not there any more: it was ended, or the bucket's rule removed it."""


class Answered(UplinkDown):
    """The store answered with an error that has no meaning of its own here, such as 500."""


class NotPermitted(UplinkDown):
    """The broker does not sign this operation for this station."""

    hint = "The administrator of the agency's broker permits operations: docs/s3-broker.md has the list."


class DigestUnsigned(UplinkDown):
    """The broker left the digest of a body unsigned, so that the store would not be told what it should compare."""


class NotThere(_Said):
    """No object of this name, or what was asked about it, is there."""


class WrongDigest(_Said):
    """The store computed another digest over the bytes than we stated."""


_WRONG: Final = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
_REFUSED: Final = {
    "EntityTooLarge": "it is longer than the store takes",
    "KeyTooLongError": "its name is longer than the store takes",
    "MetadataTooLarge": "what is said of it is longer than the store takes",
    "InvalidObjectState": "the store keeps an object of this name in a state that it cannot leave",
}
_KEYS: Final = "Look at keys_file: the administrator of the object store gives the keys and what they may do."
_DOWN: Final = {
    "InvalidAccessKeyId": ("does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("does not accept the secret key", _KEYS),
    "ExpiredToken": ("says that the keys have expired", _KEYS),
    "AccessDenied": ("does not permit this to the keys that we use", _KEYS),
    "NoSuchBucket": ("has no such bucket", "Look at `bucket`, `region` and `style` in agent.toml."),
    "PermanentRedirect": ("keeps the bucket in another region", "Look at `region` and `endpoint` in agent.toml."),
    "AuthorizationHeaderMalformed": ("keeps the bucket in another region", "Look at `region` in agent.toml."),
    "RequestTimeTooSkewed": (
        "says that our clock is wrong",
        "Compare the clock of this station with the real time (timedatectl).",
    ),
    "InsufficientStorage": ("has no room left", "The administrator of the object store must make room."),
    "QuotaExceeded": ("has no room left for us", "The administrator of the object store must raise the quota."),
    "InvalidBucketState": ("does not lock objects in this bucket", "Object Lock is a property of the bucket."),
}


def outdated(error: BaseException | None) -> bool:
    """Whether the store may have said no because a signature is too old; not all say so in these words."""
    if not isinstance(error, theirs.ClientError):
        return False
    code, facts = error.response.get("Error", {}).get("Code"), error.response.get("ResponseMetadata", {})
    return facts.get("HTTPStatusCode") in {401, 403} or code in {
        "ExpiredToken",
        "RequestExpired",
        "TokenRefreshRequired",
    }


def translated(error: Exception, place: str) -> UplinkError:  # noqa: PLR0911 - one line per thing that can fail
    """Return what happened at `place`, as an error of ours."""
    match error:
        case theirs.ClientError():
            return _answered(error.response, place)
        case theirs.EndpointConnectionError() | theirs.ConnectTimeoutError():
            return UplinkDown(
                f"{place} cannot be reached",
                way=True,
                hint="Look at the network of this station, and at `endpoint`.",
            )
        case theirs.ProxyConnectionError():
            return _proxy(error)
        case theirs.SSLError():
            return _tls(error, place)
        case theirs.NoCredentialsError() | theirs.PartialCredentialsError():
            return UplinkDown("there are no keys for the object store", hint=_KEYS)
        case theirs.ParamValidationError():
            return UplinkRefused(f"the request cannot be made: {bounded(str(error))}")
        case TimeoutError() | theirs.ReadTimeoutError():
            return UplinkDown(f"{place} gave no answer for too long", way=True)
        case _:
            why = bounded(str(error) or type(error).__name__)
            return UplinkDown(f"the connection to {place} broke: {why}", way=True)


def _answered(response: Mapping[str, Any], place: str) -> UplinkError:  # noqa: PLR0911 - one line per kind of answer
    told = response.get("Error", {})
    code, sentence = str(told.get("Code", "")), bounded(str(told.get("Message", "")))
    facts = response.get("ResponseMetadata", {})
    status, headers = facts.get("HTTPStatusCode", 0), facts.get("HTTPHeaders", {})
    if code in _WRONG:
        return WrongDigest(f"{place} refuses the bytes as wrong ({code})")
    if status == 412 or code in {"PreconditionFailed", "ConditionalRequestConflict"}:  # noqa: PLR2004
        return Exists(f"{place} has an object of this name")
    if code == "NoSuchUpload":
        return NoUpload(f"{place} has no such upload any more")
    if code in _REFUSED:
        return UplinkRefused(f"the object store refuses this capture: {_REFUSED[code]} ({code})")
    if code in _DOWN:
        what, hint = _DOWN[code]
        return UplinkDown(f"{place} {what} ({code})", hint=hint)
    if status == 404:  # noqa: PLR2004 - Not Found
        return NotThere(f"{place} has nothing of this name ({bounded(code)})")
    if status in {401, 403}:
        return UplinkDown(f"{place} does not permit this ({status})", hint=_KEYS)
    wait = seconds_asked(headers.get("retry-after", ""), headers.get("date"))
    said = ": ".join(filter(None, (f"{status} {bounded(code)}".strip(), sentence)))
    return Answered(f"{place} answered {said}", retry_after=wait)


def _proxy(error: theirs.ProxyConnectionError) -> UplinkDown:
    status = getattr(error.kwargs.get("error"), "status", None)
    if status is None:
        return UplinkDown("the proxy cannot be reached", hint="Look at `proxy` in agent.toml.")
    if status == 407:  # noqa: PLR2004 - Proxy Authentication Required
        return UplinkDown("the proxy wants a login (407)", hint="Put `user:password` into proxy_login_file.")
    return UplinkDown(f"the proxy refused to connect us ({status})", hint="The proxy must permit CONNECT to the store.")


def _tls(error: theirs.SSLError, place: str) -> UplinkDown:
    cause = error.kwargs.get("error")
    told = tls_trouble(cause, place, option="endpoint") if isinstance(cause, BaseException) else None
    return told or UplinkDown(f"no TLS connection with {place}: {bounded(str(error))}")


def bounded(text: str) -> str:
    """A stranger's words on one line, short, without anything that moves a cursor."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= _SENTENCE_MAX else shown[:_SENTENCE_MAX] + "…"
