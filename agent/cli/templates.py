"""What `evidock init` writes: a configuration that explains itself."""

import json
from pathlib import Path

from agent.cli.schema import FILE

__all__ = ["agent_toml"]


def agent_toml(*, name: str, agency: str, dems: str, bays: int, state: Path, socket: Path | None) -> str:
    """Return a commented agent.toml for these answers. Nothing secret stands in it."""
    drivers = "".join(_BAY.format(number=number) for number in range(1, bays + 1)) or _NO_BAY
    return (
        _HEAD.format(
            schema=FILE,
            name=json.dumps(name),
            agency=json.dumps(agency),
            state=json.dumps(str(state)),
            socket="" if socket is None else f"socket = {json.dumps(str(socket))}\n",
        )
        + drivers
        + (_UPLINK.format(url=json.dumps(dems), state=state) if dems else _NO_UPLINK)
    )


_HEAD = """\
#:schema ./{schema}
# The configuration of this station. After a change: evidock check, then: systemctl reload evidock.
# Secrets are named by file and never stand here. Every setting with its default: evidock config show.

[station]
# Name and agency are part of the custody log's name: they are chosen once.
name = {name}
agency = {agency}
# Spool, journal and keys. It wants a disk of its own that survives a power cut.
state = {state}
{socket}
[spool]
# Room that always stays free. Below it nothing more is taken; sending goes on.
watermark = "2 GiB"

[policy]
# "keep": no device ever forgets anything. Before "release" is written here, name the receipt_keys of the DEMS below and
# see one capture through: evidock capture show tells what was proven. Then say whom the program that deletes believes:
# sudo evidock custody trust --write.
device = "keep"
# When the spool may forget, too: "keep", "released" or "receipted".
spool = "keep"

# The dock's screen, for a display on this machine: http://127.0.0.1:8470/. To be seen from elsewhere it wants a
# certificate, and a token or the certificates of those who look.
# [status]

# [custody]
# Witnesses remember how large the log was; where they are named, nothing is released that they did not cosign.
# [[custody.witness]]
# vkey = "..."
# url = "https://witness.example.org/"
"""

_BAY = """
[[driver]]
# Where this bay's volume appears: /etc/udev/rules.d/69-evidock-bays.rules says which port is which bay.
use = "body_worn.usb_volume"
name = "bay-{number}"
mount = "/run/evidock-media/bay{number}"
"""

_NO_BAY = """
# One table for each way in; which there are: evidock driver list.
# [[driver]]
# use = "body_worn.usb_volume"
# name = "bay-1"
# mount = "/run/evidock-media/bay1"
"""

_UPLINK = """
[[uplink]]
use = "tus"
name = "dems"
url = {url}
# Whose receipts are believed, from the administrator of the DEMS. Without one no device may forget anything.
receipt_keys = []
# Who answers for the DEMS, where that is not one of the system's authorities:
# ca_file = "/etc/evidock/dems-ca.pem"
# Who we are to the DEMS: a token, or the certificate that `evidock identity` asks for and renews.
# token_file = "/etc/evidock/dems.token"
# client_cert = "{state}/keys/client.pem"
# The way through a proxy:
# proxy = "http://proxy.example.org:3128"

# The agency's MQTT broker, where it has one: docs/mqtt.md.
# [mqtt]
# host = "broker.example.org"
# ca_file = "/etc/evidock/dems-ca.pem"
# client_cert = "{state}/keys/client.pem"
"""

_NO_UPLINK = """
# Where captures go:
# [[uplink]]
# use = "tus"
# name = "dems"
# url = "https://dems.example.org/files"
# receipt_keys = []
"""
