"""SOAP by the WSDLs of ONVIF, which a library ships: requests made and answers read here, and nothing fetched or sent.

zeep makes what the schema permits and reads what comes by it; the bytes go by way of `device`, which bounds them. The
only file that imports zeep.
"""

from __future__ import annotations

import importlib.util
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.capture import printable
from agent.errors import DeviceGone, DeviceRefused

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Call", "Services", "digest_of", "seconds_text"]

_PARTS: Final = ("devicemgmt", "search", "replay")
_WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_PROFILE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
_BASE64: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be sent."""

    service: str
    operation: str
    action: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Answer:
    """What zeep wants an answer to look like."""

    status_code: int
    content: bytes
    headers: dict[str, str]
    encoding: str = "utf-8"


def digest_of(nonce: bytes, created: str, password: str) -> str:
    """`PasswordDigest` (WS-Security UsernameToken Profile 1.0, section 3.1)."""
    return b64encode(sha1(nonce + created.encode() + password.encode(), usedforsecurity=False).digest()).decode()


@cache
def _clients() -> dict[str, Any]:
    """Read once: it takes some seconds. `DeviceRefused` where the library is not there."""
    from zeep import Client, Settings  # noqa: PLC0415 - half a second, and only where there is such a recorder
    from zeep.transports import Transport  # noqa: PLC0415

    class Offline(Transport):  # type: ignore[misc]  # zeep has no types
        def load(self, url: str) -> bytes:
            if url.startswith(("http:", "https:")):
                raise OSError(f"{url} is not in the library, and nothing is fetched")
            found: bytes = super().load(url)
            return found

    spec = importlib.util.find_spec("onvif")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    if not places:
        raise DeviceRefused("the WSDLs of ONVIF are not installed", hint="Install Evidock with all it needs.")
    folder = Path(places[0]) / "wsdl"
    settings = Settings(strict=False, xml_huge_tree=False, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    return {name: Client(str(folder / f"{name}.wsdl"), transport=Offline(), settings=settings) for name in _PARTS}


class Services:
    """The three services that are needed. Its methods block for some milliseconds, the first for seconds."""

    def call(self, service: str, operation: str, login: dict[str, str] | None = None, **words: Any) -> Call:  # noqa: ANN401 - what the schema says
        """A request. `login`: what `UsernameToken` holds, ready: user, digest, nonce, created."""
        from lxml import etree  # noqa: PLC0415 - comes with zeep

        client = _clients()[service]
        (binding,) = client.wsdl.bindings.values()
        envelope = client.create_message(client.create_service(binding.name, "urn:none"), operation, **words)
        if login is not None:
            envelope.insert(0, _header(etree, etree.QName(envelope).namespace, login))
        body: bytes = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
        return Call(service, operation, binding.get(operation).soapaction, body)

    def read(self, call: Call, status: int, content_type: str, body: bytes) -> Any:  # noqa: ANN401 - what the schema says
        """An answer. `DeviceRefused` for a fault and for what is no answer to this."""
        from lxml import etree  # noqa: PLC0415
        from zeep.exceptions import Error, Fault  # noqa: PLC0415

        client = _clients()[call.service]
        (binding,) = client.wsdl.bindings.values()
        answer = _Answer(status, body, {"Content-Type": content_type})
        try:
            return binding.process_reply(client, binding.get(call.operation), answer)
        except Fault as fault:
            raise _refusal(call, fault) from fault
        except (Error, etree.LxmlError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise DeviceRefused(
                f"the recorder's answer to {call.operation} is not understood: {printable(str(error))[:200]}",
                hint="Look whether this is the recorder, and whether it has Profile G.",
            ) from error


def _header(etree: Any, envelope: str, login: dict[str, str]) -> Any:  # noqa: ANN401 - lxml has no types
    header = etree.Element(f"{{{envelope}}}Header")
    security = etree.SubElement(header, f"{{{_WSSE}}}Security", nsmap={"wsse": _WSSE, "wsu": _WSU})
    security.set(f"{{{envelope}}}mustUnderstand", "1")
    token = etree.SubElement(security, f"{{{_WSSE}}}UsernameToken")
    etree.SubElement(token, f"{{{_WSSE}}}Username").text = login["user"]
    etree.SubElement(token, f"{{{_WSSE}}}Password", Type=_PROFILE).text = login["digest"]
    etree.SubElement(token, f"{{{_WSSE}}}Nonce", EncodingType=_BASE64).text = login["nonce"]
    etree.SubElement(token, f"{{{_WSU}}}Created").text = login["created"]
    return header


def _refusal(call: Call, fault: Any) -> DeviceRefused | DeviceGone:  # noqa: ANN401 - zeep has no types
    codes = " ".join(str(getattr(one, "localname", one)) for one in fault.subcodes or [])
    said = printable(f"{codes} {fault.message or ''}".strip())[:200]
    if "NotAuthorized" in said or "FailedAuthentication" in said:
        hint = "Look at `user` and `password_file`, at the rights of the account, and at the recorder's clock."
        return DeviceRefused(f"the recorder does not let us in: {said}", hint=hint)
    if "InvalidToken" in said or "NoRecording" in said:  # a search or recording that is gone meanwhile
        return DeviceGone(f"the recorder knows it no more: {said}", hint="Nothing to do: it is searched again.")
    return DeviceRefused(f"the recorder refuses {call.operation}: {said}")


def seconds_text(moment: datetime) -> str:
    """A time as WS-Security wants it."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
