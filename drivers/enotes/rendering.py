"""A notebook for a reader: one HTML file, to be read or printed, with nothing from elsewhere, in English or French.

Struck text stays visible, each printed page states the head of the chain, every time says by whose clock it is, and
what is flagged is explained in plain words. Characters that cannot be seen or that turn the direction of reading are
shown as their numbers: a reader must see what was signed.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from firmware_specs import SpecError
from firmware_specs.formats.enote import unb64url
from firmware_specs.formats.enote_notebook import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.enotes.reading import Act, Looked

__all__ = ["LANGUAGES", "rendered", "visible"]

LANGUAGES: Final = ("en", "fr")
_SHOWN: Final = {"\n", "\t", "\u200c", "\u200d"}
"""Line breaks, and what joins or separates letters and emoji."""
_HIDDEN: Final = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def rendered(found: Looked, *, language: str = "en", service: str = "", at: datetime | None = None) -> bytes:
    """The whole document. `at`: when it is rendered, by our clock."""
    return _Page(found, language, service, at or datetime.now(UTC)).document().encode()


def visible(text: str) -> str:
    """HTML of a text in which nothing is invisible."""
    return "".join(
        escape(c) if c in _SHOWN or unicodedata.category(c) not in _HIDDEN else f"<mark>U+{ord(c):04X}</mark>"
        for c in text
    )


class _Page:
    """One document while it is made."""

    def __init__(self, found: Looked, language: str, service: str, at: datetime) -> None:
        web = resources.files("drivers.enotes") / "web"
        self._words: dict[str, Any] = json.loads((web / f"words.{language}.json").read_text("utf-8"))
        self._css = (web / "notebook.css").read_text("utf-8")
        self._found, self._language, self._service, self._at = found, language, service, at
        self._linked = {digest for digest, _ in found.chain.linked}

    def document(self) -> str:
        """All of it."""
        w, name = self._words, str(self._found.notebook)
        foot = f"{name}\\A {self._head('sha-256:')}"
        parts = [self._about(), self._first(), self._notes(), self._apart(), self._keys(), self._check()]
        body = "\n".join(part for part in parts if part)
        return (
            f'<!doctype html>\n<html lang="{self._language}">\n<head>\n<meta charset="utf-8">\n'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(w['title'])} {escape(name)}</title>\n"
            f"<style>\n{self._css.replace('@FOOT@', escape(foot))}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{escape(w['title'])}</h1>\n{body}\n</main>\n</body>\n</html>\n"
        )

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
        return f"<dl>\n{rows}</dl>\n<p>{escape(w['how_to_read'])}</p>\n<p>{escape(w['whose_clock'])}</p>"

    def _first(self) -> str:
        """What a reader must know before reading on."""
        w, found = self._words, self._found
        told = [
            w["missing_one" if first == last else "missing_many"].format(first=first, last=last)
            for first, last in found.missing
        ]
        if found.flagged:
            told.append(w["flagged"].format(count=len(found.flagged), total=len(found.acts)))
        told += [
            w["attachment_missing"].format(name=one["name"], seq=act.judged.seq)
            for act in found.acts
            for one in _attached(act)
            if found.attachments and found.attachments.get((act.judged.seq or 0, one["sha256"])) is None
        ]
        told += [
            w["disagrees"].format(seq=act.judged.seq, told=act.told, found=act.status.value)
            for act in found.disagreeing
        ]
        if not told:
            return f'<p class="well">{escape(w["all_well"])}</p>'
        items = "".join(f"<li>{visible(one)}</li>" for one in told)
        return f'<section class="warn"><h2>{escape(w["not_well"])}</h2><ul>{items}</ul></section>'

    # -- notes ---------------------------------------------------------------------------------------------------------

    def _notes(self) -> str:
        acts: dict[str, list[Act]] = {}
        for act in sorted(self._found.acts, key=lambda one: one.judged.seq or 0):
            if act.judged.envelope.digest in self._linked and act.judged.base is None and act.status != "duplicate":
                acts.setdefault(str(act.entry["note"]), []).append(act)
        articles = "\n".join(self._note(name, found) for name, found in acts.items())
        return f"<h2>{escape(self._words['notes'])}</h2>\n{articles}"

    def _note(self, name: str, acts: list[Act]) -> str:
        w = self._words
        note = self._found.chain.notes.get(name, Note(state="open"))
        first = acts[0].entry
        incident = first.get("incident")
        told = {
            "state": w[note.state],
            "kind": str(first.get("kind") or ""),
            "incident": ", ".join(incident) if isinstance(incident, list) else str(incident or ""),
        }
        rows = "".join(f"<dt>{escape(w[key])}</dt><dd>{visible(value)}</dd>" for key, value in told.items() if value)
        later = {act.entry["rev"] for act in acts if act.entry["op"] == "supplement"}
        text = "".join(
            self._piece(piece.text, piece.rev, piece.struck_by, label=piece.rev in later) for piece in note.pieces
        )
        files = "".join(self._file(act, one) for act in acts for one in _attached(act))
        listed = f"<h4>{escape(w['attachments'])}</h4><ul>{files}</ul>" if files else ""
        return (
            f"<article>\n<h3>{escape(w['note'])} {visible(name)}</h3>\n<dl>{rows}</dl>\n"
            f'<div class="text" aria-label="{escape(w["text"])}" role="group">{text}</div>\n'
            f"{listed}{self._table(acts, w['acts'])}\n</article>"
        )

    def _piece(self, text: str, rev: int, struck_by: int | None, *, label: bool) -> str:
        w = self._words
        if struck_by is None:
            word = f'<span class="label">{escape(w["op"]["supplement"])} ({rev})</span>' if label else ""
            return f"{word}<ins>{visible(text)}</ins><sup>{rev}</sup>"
        said, end = (f'<span class="vh">{escape(w[word])} </span>' for word in ("struck", "struck_end"))
        return f"<del>{said}{visible(text)}{end}</del><sup>{rev}→{struck_by}</sup>"

    def _file(self, act: Act, one: dict[str, Any]) -> str:
        w, known = self._words, self._found.attachments
        held_at = known.get((act.judged.seq or 0, one["sha256"]))
        came = w["came"].format(at=held_at) if held_at else w["came_not" if known else "came_unknown"]
        about = f"{visible(one['name'])}, {one['length']} {escape(w['length'])}, <code>SHA-256 {one['sha256']}</code>"
        return f"<li>{about} — {escape(came)}</li>"

    # -- tables --------------------------------------------------------------------------------------------------------

    def _table(self, acts: list[Act], caption: str) -> str:
        w = self._words
        names = ("page", "act", "by", "happened", "recorded", "received", "found")
        head = "".join(f'<th scope="col">{escape(w[name])}</th>' for name in names)
        return (
            f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n"
            f"<tbody>{''.join(map(self._row, acts))}</tbody></table>"
        )

    def _row(self, act: Act) -> str:
        w, entry = self._words, act.entry
        author = entry.get("author")
        who = author if isinstance(author, dict) else {}
        by = f"{who.get('name') or ''} ({w['badge']} {who.get('badge')})".strip()
        op = str(entry.get("op"))
        cells = [
            f'<th scope="row">{act.judged.seq or "?"}</th>',
            f"<td>{visible(w['op'].get(op, op))} ({visible(str(entry.get('rev')))})</td>",
            f"<td>{visible(by)}</td>",
            f"<td>{visible(str(entry.get('occurred_at') or ''))}</td>",
            f"<td>{visible(str(entry.get('recorded_at') or ''))}{self._clock(entry)}</td>",
            f"<td>{'' if act.received_at is None else _when(act.received_at)}</td>",
            f"<td>{self._verdict(act)}</td>",
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

    def _verdict(self, act: Act) -> str:
        w = self._words
        told = [w["status"][act.status.value], *(w["flag"].get(flag, flag) for flag in act.flags)]
        told += act.judged.why
        if reason := act.entry.get("reason"):
            told.append(f"{w['why']}: {reason}")
        if verdict := act.entry.get("verdict"):
            told.append(f"{verdict}: {act.entry.get('comment') or ''}")
        digest = f"<br><code>{act.judged.envelope.digest.hex()}</code>"
        return "<br>".join(visible(str(one)) for one in told) + digest

    def _apart(self) -> str:
        """Everything that is no part of the notes above, with all that it says."""
        w = self._words
        acts = [
            act
            for act in self._found.acts
            if act.judged.base is not None or act.judged.envelope.digest not in self._linked
        ]
        if not acts:
            return ""
        shown = "".join(self._table([act], "") + self._said(act) for act in acts).replace("<caption></caption>", "")
        return f"<h2>{escape(w['apart'])}</h2>\n<p>{escape(w['apart_why'])}</p>\n{shown}"

    def _said(self, act: Act) -> str:
        """The text; else the whole payload, as it was signed."""
        try:
            raw = unb64url(act.judged.envelope.payload).decode("utf-8", "backslashreplace")
        except SpecError:
            return f"<p>{escape(self._words['unreadable'])}</p>"
        text = act.entry.get("text")
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
        return f"<h2>{escape(w['keys'])}</h2>\n<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _check(self) -> str:
        w = self._words
        return f"<h2>{escape(w['check'])}</h2>\n<p>{escape(w['check_text'])}</p>"


def _attached(act: Act) -> Iterator[dict[str, Any]]:
    if act.judged.base is None and act.entry.get("op") == "attach":
        yield from act.entry["attachments"]


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
