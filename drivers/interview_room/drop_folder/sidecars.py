"""Side-cars: what a recorder wrote beside a recording to prove it, read with bounds, and which recording it is about.

Read are `<name>.sha256`, `.sha512`, `.sha1`, `.md5` (a digest alone, or lines of coreutils or of BSD), files of sums
for a whole folder (`SHA256SUMS`, `manifest-sha256.txt` of BagIt), and XML in which an element or attribute named
for a digest holds one. What a side-car says counts for the film that it names, else for the one film that shares its
name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

from agent.capture import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CONTENT_MAX", "Beside", "Named", "Told", "digests_in", "is_digest_file", "told_of"]

CONTENT_MAX: Final = 4 * 1024 * 1024
"""Bytes of a side-car that are read; a longer one is a file like any other."""
_DIGESTS_MAX: Final = 100_000

_LENGTHS: Final = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the number of hexadecimal digits; `hashlib` knows them by these names."""
_ENDINGS: Final = (".sha256", ".sha512", ".sha1", ".md5")
_SUMS: Final = re.compile(
    r"(?:sha256|sha512|sha1|md5)sums?(?:\.txt)?|manifest-(?:sha256|sha512|sha1|md5)\.txt|checksums?\.(?:sha256|md5)",
    re.IGNORECASE,
)
_LINE: Final = re.compile(r"([0-9A-Fa-f]{32,128})(?:[ \t]+\*?|[ \t]*$)(.*)", re.DOTALL)
_BSD: Final = re.compile(
    r"(?:SHA(?:2-)?(?:256|512)|SHA1|MD5)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]{32,128})\s*", re.IGNORECASE | re.DOTALL
)
_ESCAPED: Final = re.compile(r"\\([\\nr])")
"""In a line that begins with a backslash, coreutils write these two for a backslash, or for a line's end, in a name."""
_NAMED_FOR_A_DIGEST: Final = re.compile(
    r"sha-?_?(?:1|256|512)|md5|hash(?:value)?|checksum|digest(?:value)?", re.IGNORECASE
)
_NAMED_FOR_A_FILE: Final = re.compile(r"file(?:_?name)?|name|path|media(?:file)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """One digest that a side-car holds."""

    algorithm: str
    digest: bytes
    file: str | None
    """The file that it names, as it stands there; None where it names none."""


@dataclass(frozen=True, slots=True)
class Told:
    """One digest that counts for a film."""

    algorithm: str
    digest: bytes
    by: str
    """Key of the side-car."""


def is_digest_file(key: str) -> bool:
    """Whether the name is that of a file of digests alone: it is no recording."""
    name = _name(key).lower()
    return name.endswith(_ENDINGS) or _SUMS.fullmatch(name) is not None


class Beside:
    """Which file stands beside which: `<name>.xml` beside `<name>`, `<base>.xml` beside the one film of that base."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = frozenset(keys)
        self._films: dict[str, list[str]] = {}
        for key in self.keys:
            base, dot, ending = key.rpartition(".")
            if dot and "/" not in ending and ending.lower() not in ("xml", "json") and not is_digest_file(key):
                self._films.setdefault(base, []).append(key)
        self.attended = {film for key in self.keys if (film := self.of(key)) is not None}
        """Films beside which something stands."""

    def of(self, key: str) -> str | None:
        """The recording that a file of this name is a side-car of; None for a recording."""
        stem, dot, ending = key.rpartition(".")
        if not dot or "/" in ending or (ending.lower() not in ("xml", "json") and not is_digest_file(key)):
            return None
        if stem in self.keys:
            return stem
        films = self._films.get(stem, [])
        return films[0] if len(films) == 1 else None


def digests_in(key: str, content: bytes) -> list[Named]:
    """Every digest in a side-car. `ValueError` with what is wrong where it cannot be read, or holds none."""
    if is_digest_file(key):
        return _of_lines(content)
    return _of_xml(content)


def _of_lines(content: bytes) -> list[Named]:
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "surrogateescape")
    found: list[Named] = []
    for whole in re.split(r"\r\n|\r|\n", text):  # a name may hold what else ends lines elsewhere
        line = whole.removeprefix("\\")
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if bsd := _BSD.fullmatch(line):
            name, digits = bsd[1], bsd[2]
        elif plain := _LINE.fullmatch(line.rstrip()):
            digits, name = plain[1], plain[2].strip()
        else:
            raise ValueError("a line is no digest")
        if line != whole:
            name = _ESCAPED.sub(lambda found: {"n": "\n", "r": "\r"}.get(found[1], "\\"), name)
        if len(digits) not in _LENGTHS:
            raise ValueError(f"a digest has {len(digits)} digits")
        found.append(Named(_LENGTHS[len(digits)], bytes.fromhex(digits), name or None))
        if len(found) > _DIGESTS_MAX:
            raise ValueError(f"it holds more than {_DIGESTS_MAX} digests")
    if not found:
        raise ValueError("it holds no digest")
    return found


def _of_xml(content: bytes) -> list[Named]:
    """`ElementTree` follows no external entity, and expat ends the growth of internal ones; the bytes are bounded."""
    if b"<!ENTITY" in content.replace(b"\0", b""):
        raise ValueError("it declares entities")
    try:
        root = ET.fromstring(content)  # noqa: S314 - bounded, and without entities
    except (ET.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"it is no XML: {printable(str(error))[:200]}") from None
    found: list[Named] = []
    for parent in root.iter():
        words = [(_local(child.tag), (child.text or "").strip()) for child in parent]
        words += [(_local(name), value.strip()) for name, value in parent.attrib.items()]
        if parent is root:
            words.append((_local(root.tag), (root.text or "").strip()))
        file = next((value for name, value in words if value and _NAMED_FOR_A_FILE.fullmatch(name)), None)
        for name, value in words:
            digits = value.lower()
            if _NAMED_FOR_A_DIGEST.fullmatch(name) and len(digits) in _LENGTHS and re.fullmatch("[0-9a-f]+", digits):
                found.append(Named(_LENGTHS[len(digits)], bytes.fromhex(digits), file))
        if len(found) > _DIGESTS_MAX:
            raise ValueError(f"it holds more than {_DIGESTS_MAX} digests")
    return found


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def told_of(read: Mapping[str, Iterable[Named]], beside: Beside) -> dict[str, list[Told]]:
    """Which digests count for which film. `read`: what each side-car holds, by its key."""
    found: dict[str, list[Told]] = {}
    for sidecar, digests in read.items():
        folder = sidecar.rpartition("/")[0]
        companion = beside.of(sidecar)
        named = list(digests)
        alone = len({one.file for one in named}) == 1
        for one in named:
            film = None if one.file is None else _resolved(folder, one.file, beside.keys)
            if film is None and alone:
                film = companion  # a digest without a name, or with the name that the recorder knew it by
            if film is not None and film != sidecar:
                found.setdefault(film, []).append(Told(one.algorithm, one.digest, sidecar))
    return found


def _resolved(folder: str, name: str, keys: frozenset[str]) -> str | None:
    """The file that a side-car names, below the side-car's folder and nowhere else."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".")]
    if not parts or ".." in parts:
        return None
    prefix = f"{folder}/" if folder else ""
    for path in (*([name] if "/" not in name else []), "/".join(parts), parts[-1]):
        key = prefix + printable(path.encode("utf-8", "surrogateescape"))
        if key in keys:
            return key
    return None


def _name(key: str) -> str:
    return unquote_to_bytes(key.rpartition("/")[2]).decode("utf-8", "replace")
