"""What is known of each format, model and firmware: data that imports construct and nothing of ours.

`devices/` has one TOML file per maker, model and firmware: how to recognise it, and which formats it uses. `formats/`
has one file per wire or file format; the `*.toml` there are layouts: what lies where on a device's volume. Every file
says in its header what is known, from where, and what is not verified.
"""

from __future__ import annotations

__all__ = ["SpecError"]


class SpecError(ValueError):
    """A spec that is not there, or that contradicts itself; the message names the file and the place in it."""
