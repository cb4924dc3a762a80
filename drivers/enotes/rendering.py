"""A notebook for a reader: one HTML file, to be read or printed, with nothing from elsewhere, in English or French.

It is made part by part, and of what a notebook says no more is in memory than a few entries.

Struck text stays visible, each printed page states the head of the chain, every time says by whose clock it is, and
what is flagged is explained in plain words. Characters that cannot be seen or that turn the direction of reading are
shown as their numbers: a reader must see what was signed.
"""

from __future__ import annotations

import json
import unicodedata
from collections import OrderedDict
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError
from firmware_specs.formats.enote import Status
from firmware_specs.formats.enote_notebook import Note
from firmware_specs.formats.enote_pieces import pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from drivers.enotes.reading import Act, Looked
    from firmware_specs.formats.enote_pieces import Piece

__all__ = ["LANGUAGES", "rendered", "visible"]

LANGUAGES: Final = ("en", "fr")
_SHOWN: Final = {"\n", "\t", "\u200c", "\u200d"}
"""Line breaks, and what joins or separates letters and emoji."""
_IN_MEMORY: Final = 8
"""Entries that are not read again while pieces of them stand side by side."""
_DONE: Final = (Status.OK, Status.LATE)
"""What an entry is that changed its note."""
_HIDDEN: Final = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def rendered(found: Looked, *, language: str = "en", service: str = "", at: datetime | None = None) -> Iterator[bytes]:
    """The whole document, part by part. `at`: when it is rendered, by our clock."""
    page = _Page(found, language, service, at or datetime.now(UTC))
    return (part.encode() for part in page.document())


def visible(text: str) -> str:
    """HTML of a text in which nothing is invisible."""
    shown = escape(text)
    for letter in set(text) - _SHOWN:
        if unicodedata.category(letter) in _HIDDEN:
            shown = shown.replace(letter, f"<mark>U+{ord(letter):04X}</mark>")
    return shown


class _Page:
    """One document while it is made."""

    def __init__(self, found: Looked, language: str, service: str, at: datetime) -> None:
        web = resources.files("drivers.enotes") / "web"
        self._words: dict[str, Any] = json.loads((web / f"words.{language}.json").read_text("utf-8"))
        self._css = (web / "notebook.css").read_text("utf-8")
        self._found, self._language, self._service, self._at = found, language, service, at
        self._linked = {digest for digest, _ in found.chain.linked}
        self._entries: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def document(self) -> Iterator[str]:
        """All of it."""
        w, name = self._words, str(self._found.notebook)
        foot = f"{name}\\A {self._head('sha-256:')}"
        yield (
            f'<!doctype html>\n<html lang="{self._language}">\n<head>\n<meta charset="utf-8">\n'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(w['title'])} {escape(name)}</title>\n"
            f"<style>\n{self._css.replace('@FOOT@', escape(foot))}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{escape(w['title'])}</h1>\n"
        )
        yield self._about()
        yield from self._first()
        yield from self._notes()
        yield from self._apart()
        yield self._keys()
        yield self._check()
        yield "\n</main>\n</body>\n</html>\n"

    def _entry(self, act: Act) -> dict[str, Any]:
        """What it says, read again unless it was just now."""
        if act.number not in self._entries:
            self._entries[act.number] = self._found.entry_of(act)
            if len(self._entries) > _IN_MEMORY:
                self._entries.popitem(last=False)
        self._entries.move_to_end(act.number)
        return self._entries[act.number]

    def _head(self, kind: str = "") -> str:
        chain = self._found.chain
        if chain.head_digest is None:
            return str(self._words["no_head"])
        return f"{self._words['page']} {chain.head}, {kind}{chain.head_digest.hex()}"

    # -- what stands first ---------------------------------------------------------------------------------------------

    def _about(self) -> str:
        w, found = self._words, self._found
        officers = sorted({f"{key.name or ''} ({w['badge']} {key.badge})".strip() for key in found.keys.values()})
        told = {
            "service": self._service,
            "notebook": str(found.notebook),
            "officers": ", ".join(officers),
            "entries": str(len(found.acts)),
            "head": self._head("SHA-256 "),
            "rendered": f"{_when(self._at)} {w['by_station']}",
        }
        rows = "".join(f"<dt>{escape(w[key])}</dt><dd>{visible(value)}</dd>\n" for key, value in told.items() if value)
        return f"<dl>\n{rows}</dl>\n<p>{escape(w['how_to_read'])}</p>\n<p>{escape(w['whose_clock'])}</p>\n"

    def _first(self) -> Iterator[str]:
        """What a reader must know before reading on."""
        w, any_of_it = self._words, False
        for one in self._not_well():
            if not any_of_it:
                yield f'<section class="warn"><h2>{escape(w["not_well"])}</h2><ul>'
            any_of_it = True
            yield f"<li>{visible(one)}</li>"
        yield "</ul></section>\n" if any_of_it else f'<p class="well">{escape(w["all_well"])}</p>\n'

    def _not_well(self) -> Iterator[str]:
        w, found = self._words, self._found
        for first, last in found.missing:
            yield w["missing_one" if first == last else "missing_many"].format(first=first, last=last)
        if flagged := sum(act.flagged for act in found.acts):
            yield w["flagged"].format(count=flagged, total=len(found.acts))
        if found.source.knows_attachments:
            for act in found.acts:
                for one in self._attached(act):
                    if found.source.held_at(act.seq or 0, one["sha256"]) is None:
                        yield w["attachment_missing"].format(name=one["name"], seq=act.seq)
        for act in found.disagreeing:
            yield w["disagrees"].format(seq=act.seq, told=act.told, found=act.status.value)

    def _attached(self, act: Act) -> Iterable[dict[str, Any]]:
        return self._entry(act)["attachments"] if act.base is None and act.op == "attach" else ()

    # -- notes ---------------------------------------------------------------------------------------------------------

    def _notes(self) -> Iterator[str]:
        acts: dict[str, list[Act]] = {}
        for act in sorted(self._found.acts, key=lambda one: one.seq or 0):
            if act.digest in self._linked and act.base is None and act.status is not Status.DUPLICATE:
                acts.setdefault(str(act.note), []).append(act)
        yield f"<h2>{escape(self._words['notes'])}</h2>\n"
        for name, found in acts.items():
            yield from self._note(name, found)

    def _note(self, name: str, acts: list[Act]) -> Iterator[str]:
        w = self._words
        note = self._found.chain.notes.get(name, Note(state="open"))
        first = self._entry(acts[0])
        incident = first.get("incident")
        told = {
            "state": w[note.state],
            "kind": str(first.get("kind") or ""),
            "incident": ", ".join(incident) if isinstance(incident, list) else str(incident or ""),
        }
        rows = "".join(f"<dt>{escape(w[key])}</dt><dd>{visible(value)}</dd>" for key, value in told.items() if value)
        yield f"<article>\n<h3>{escape(w['note'])} {visible(name)}</h3>\n<dl>{rows}</dl>\n"
        yield f'<div class="text" aria-label="{escape(w["text"])}" role="group">'
        yield from self._text(acts)
        yield "</div>\n"
        if any(self._attached(act) for act in acts):
            yield f"<h4>{escape(w['attachments'])}</h4><ul>"
            for act in acts:
                yield from (self._file(act, one) for one in self._attached(act))
            yield "</ul>"
        yield from self._table(acts, w["acts"])
        yield "\n</article>\n"

    def _text(self, acts: list[Act]) -> Iterator[str]:
        """What ever stood in a note, by the acts that were done to it."""
        done = [act for act in acts if act.status in _DONE]
        by_rev = {self._entry(act)["rev"]: act for act in done}
        for piece in pieces_of(map(self._entry, done)):
            yield self._piece(piece, by_rev[piece.rev])

    def _piece(self, piece: Piece, act: Act) -> str:
        w, text = self._words, visible(piece.text_in(self._entry(act)))
        if piece.struck_by is None:
            later = act.op == "supplement"
            word = f'<span class="label">{escape(w["op"]["supplement"])} ({piece.rev})</span>' if later else ""
            return f"{word}<ins>{text}</ins><sup>{piece.rev}</sup>"
        said, end = (f'<span class="vh">{escape(w[word])} </span>' for word in ("struck", "struck_end"))
        return f"<del>{said}{text}{end}</del><sup>{piece.rev}→{piece.struck_by}</sup>"

    def _file(self, act: Act, one: dict[str, Any]) -> str:
        w, source = self._words, self._found.source
        held_at = source.held_at(act.seq or 0, one["sha256"])
        came = (
            w["came"].format(at=held_at) if held_at else w["came_not" if source.knows_attachments else "came_unknown"]
        )
        about = f"{visible(one['name'])}, {one['length']} {escape(w['length'])}, <code>SHA-256 {one['sha256']}</code>"
        return f"<li>{about} — {escape(came)}</li>"

    # -- tables --------------------------------------------------------------------------------------------------------

    def _table(self, acts: Iterable[Act], caption: str) -> Iterator[str]:
        w = self._words
        names = ("page", "act", "by", "happened", "recorded", "received", "found")
        head = "".join(f'<th scope="col">{escape(w[name])}</th>' for name in names)
        told = f"<caption>{escape(caption)}</caption>" if caption else ""
        yield f"<table>{told}<thead><tr>{head}</tr></thead>\n<tbody>"
        yield from map(self._row, acts)
        yield "</tbody></table>"

    def _row(self, act: Act) -> str:
        w, entry = self._words, self._entry(act)
        author = entry.get("author")
        who = author if isinstance(author, dict) else {}
        by = f"{who.get('name') or ''} ({w['badge']} {who.get('badge')})".strip()
        op = str(entry.get("op"))
        cells = [
            f'<th scope="row">{act.seq or "?"}</th>',
            f"<td>{visible(w['op'].get(op, op))} ({visible(str(entry.get('rev')))})</td>",
            f"<td>{visible(by)}</td>",
            f"<td>{visible(str(entry.get('occurred_at') or ''))}</td>",
            f"<td>{visible(str(entry.get('recorded_at') or ''))}{self._clock(entry)}</td>",
            f"<td>{'' if act.received_at is None else _when(act.received_at)}</td>",
            f"<td>{self._verdict(act, entry)}</td>",
        ]
        return f"<tr{' class=flagged' if act.flagged else ''}>{''.join(cells)}</tr>\n"

    def _clock(self, entry: dict[str, Any]) -> str:
        clock = entry.get("clock")
        if not isinstance(clock, dict):
            return ""
        source = str(clock.get("source"))
        said = str(self._words["clock_source"].get(source, source))
        offset, error = clock.get("offset_ms"), clock.get("uncertainty_ms")
        if isinstance(offset, int | float):  # of an entry that breaks the rules it may be anything
            offset = f"{offset:+}"
        told = f"{said}{'' if offset is None else f', {offset} ms'}{'' if error is None else f' ± {error} ms'}"
        return f"<br>{visible(told)}"

    def _verdict(self, act: Act, entry: dict[str, Any]) -> str:
        w = self._words
        told = [w["status"][act.status.value], *(w["flag"].get(flag, flag) for flag in act.flags)]
        told += act.why
        if reason := entry.get("reason"):
            told.append(f"{w['why']}: {reason}")
        if verdict := entry.get("verdict"):
            told.append(f"{verdict}: {entry.get('comment') or ''}")
        return "<br>".join(visible(str(one)) for one in told) + f"<br><code>{act.digest.hex()}</code>"

    def _apart(self) -> Iterator[str]:
        """Everything that is no part of the notes above, with all that it says."""
        w, any_of_it = self._words, False
        for act in self._found.acts:
            if act.base is None and act.digest in self._linked:
                continue
            if not any_of_it:
                yield f"<h2>{escape(w['apart'])}</h2>\n<p>{escape(w['apart_why'])}</p>\n"
            any_of_it = True
            yield from self._table([act], "")
            yield self._said(act)

    def _said(self, act: Act) -> str:
        """The text; else the whole payload, as it was signed."""
        try:
            raw = self._found.payload_of(act).decode("utf-8", "backslashreplace")
        except SpecError:
            return f"<p>{escape(self._words['unreadable'])}</p>"
        text = self._entry(act).get("text")
        return f'<div class="text">{visible(text if isinstance(text, str) else raw)}</div>'

    def _keys(self) -> str:
        w = self._words
        names = ("key", "whose", "tablet", "since", "until", "how")
        head = "".join(f'<th scope="col">{escape(w[name])}</th>' for name in names)
        rows = "".join(
            f'<tr><th scope="row"><code>{key.public.kid}</code></th>'
            f"<td>{visible(key.name or '')} ({escape(w['badge'])} {visible(key.badge)})</td>"
            f"<td>{visible(key.tablet)}</td>"
            f"<td>{_when(key.since)}</td><td>{'' if key.until is None else _when(key.until)}</td>"
            f"<td>{visible(key.how)}</td></tr>\n"
            for key in self._found.keys.values()
        )
        return f"<h2>{escape(w['keys'])}</h2>\n<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>\n"

    def _check(self) -> str:
        w = self._words
        return f"<h2>{escape(w['check'])}</h2>\n<p>{escape(w['check_text'])}</p>"


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
