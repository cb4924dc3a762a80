"""One capture on paper: what was taken, from what, when, how it was verified, and how to do that again.

A page for people, in English and then in French; it carries all that it needs and runs nothing. Whatever a device said
passes through `_said`: characters that cannot be seen become visible, the rest is escaped, and its direction stays
inside it.
"""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from agent.capture import printable
from agent.custody.export.manifest import second
from agent.custody.export.words import EVENTS, LANGUAGES, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agent.custody.export.dossier import Facts, Sealed

__all__ = ["certificate"]

_SAID_MAX: Final = 4000
"""Characters of one value on paper; the entry has them all."""


def certificate(facts: Facts, under: Sealed, version: str, made_at: datetime) -> bytes:
    """The page, UTF-8."""
    style = files("agent.custody.export").joinpath("certificate.css").read_text()
    made = {"date": f"{made_at:%Y-%m-%d}", "version": version}
    sections = "".join(_Page(language, facts, under).section(made) for language in range(len(LANGUAGES)))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{facts.id}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{sections}</body>\n</html>\n"
    ).encode()


def _said(value: object) -> str:
    """A value of a device, a person or a DEMS, as it may stand in the page."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    shown = "".join(c if c == "%" else printable(c) for c in text[:_SAID_MAX])
    return f"<bdi>{html.escape(shown)}{' …' if len(text) > _SAID_MAX else ''}</bdi>"


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


def _time(text: str) -> str:
    """RFC 3339 as it is read aloud, to the millisecond where that is known."""
    shown = html.escape(text.replace("T", " ").removesuffix("Z").removesuffix(".000"))
    return f'<span class="time">{shown} UTC</span>'


class _Page:
    """The certificate in one language."""

    def __init__(self, language: int, facts: Facts, under: Sealed) -> None:
        self._language, self._facts, self._under = language, facts, under

    def _w(self, word: str, **values: object) -> str:
        """A sentence with values that are markup already."""
        return html.escape(WORDS[word][self._language]).format(**values)

    def section(self, made: dict[str, str]) -> str:
        """Everything."""
        head = f'<h1>{self._w("title")}</h1>\n<p>{_code(self._facts.id)}</p>\n<p class="aid">{self._w("aid")}</p>\n'
        parts = (
            ("what", self._table(self._what())),
            ("from", f'<p class="aid">{self._w("said")}</p>\n{self._table(self._from())}'),
            ("how", self._table(self._how())),
            ("story", self._story()),
            ("verified", self._verified()),
            ("again", self._again()),
            ("person", self._person()),
        )
        body = "".join(f"<h2>{self._w(title)}</h2>\n{part}" for title, part in parts)
        foot = self._w("made", **{name: html.escape(value) for name, value in made.items()})
        return f'<section lang="{LANGUAGES[self._language]}">\n{head}{body}<footer>{foot}</footer>\n</section>\n'

    def _table(self, rows: Iterable[tuple[str, str]]) -> str:
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>\n" for name, value in rows)
        return f"<table>\n{cells}</table>\n"

    def _what(self) -> Iterator[tuple[str, str]]:
        facts = self._facts
        yield self._w("file"), _code(facts.file) if facts.file else self._w("absent")
        yield self._w("length"), f"{facts.length} {self._w('bytes')}"
        yield "SHA-256", _code(facts.digest["sha256"])
        yield "BLAKE3", _code(facts.digest["blake3"])
        yield self._w("media_type"), _said(facts.capture.get("media_type", ""))
        yield self._w("id"), _code(facts.id)
        if facts.recording is not None:
            yield self._w("group"), _said(facts.recording[1])
        if facts.capture.get("clip") is not None:
            yield self._w("clip"), _said(facts.capture["clip"])

    def _from(self) -> Iterator[tuple[str, str]]:
        facts, unsaid = self._facts, f'<span class="quiet">{self._w("unsaid")}</span>'
        yield self._w("key"), _said(facts.capture["key"])
        began_at = facts.capture.get("began_at")
        yield self._w("began_at"), unsaid if began_at is None else _time(str(began_at))
        yield self._w("device"), _said(facts.device["id"])
        for name in ("maker", "model", "serial", "firmware"):
            value = facts.device.get(name)
            yield self._w(name), unsaid if value is None else _said(value)
        claims: dict[str, Any] = facts.capture.get("claims") or {}
        if claims:
            yield self._w("claims"), "<br>".join(f"{_said(name)}: {_said(claims[name])}" for name in sorted(claims))

    def _how(self) -> Iterator[tuple[str, str]]:
        facts, said = self._facts, self._facts.predicate
        yield self._w("log"), _code(self._under.seal.log)
        yield self._w("place"), _said(facts.device.get("place") or "-")
        yield self._w("driver"), f"{_said(facts.device.get('driver', '-'))}, {_said(facts.device.get('spec') or '-')}"
        agent = said.get("agent", {})
        build = f"{self._w('build')} {_code(str(agent.get('build_sha256', '?')))}"
        yield self._w("software"), f"Evidock {_said(agent.get('version', '?'))}<br>{build}"
        yield self._w("recorded_at"), _time(said["recorded_at"])
        yield self._w("written"), self._written()
        clock = said.get("clock", {})
        error = clock.get("uncertainty_us")
        shown = self._w("unknown")
        if error is not None:
            shown = self._w("error", whole=error // 1000, rest=f"{error % 1000:03}")
        state = "synchronised" if clock.get("synchronised") else "unsynchronised"
        yield self._w("clock"), self._w(state, source=_said(clock.get("source", "?")), error=shown)

    def _written(self) -> str:
        """Between which times, as witnesses state them."""
        nobody = self._w("nobody")
        after, before = (
            nobody if at is None else _time(str(second(at))) for at in (self._facts.after, self._facts.before)
        )
        return f"{self._w('after', time=after)}<br>{self._w('before', time=before)}"

    def _story(self) -> str:
        rows = "".join(
            f"<tr><td>{_time(said['recorded_at'])}</td><td>{said['seq']}</td>"
            f"<td>{self._happened(said)}</td><td>{self._actor(said['actor'])}</td></tr>\n"
            for said in (entry["predicate"] for entry in self._facts.entries)
        )
        head = "".join(f"<th>{self._w(word)}</th>" for word in ("when", "entry", "happened", "who"))
        return f'<table class="story">\n<tr>{head}</tr>\n{rows}</table>\n'

    def _happened(self, said: dict[str, Any]) -> str:
        event = str(said["event"])
        words = html.escape(EVENTS[event][self._language]) if event in EVENTS else _said(event)
        more = [_said(said[name]) for name in ("command", "why", "reason") if said.get(name)]
        return ": ".join([words, *more])

    def _actor(self, actor: str) -> str:
        return self._w("agent") if actor == "agent" else _said(actor)

    def _verified(self) -> str:
        lines = "".join(f'<li class="{"yes" if good else "no"}">{line}</li>\n' for good, line in self._findings())
        return f"<ul>\n{lines}</ul>\n"

    def _findings(self) -> Iterator[tuple[bool, str]]:
        facts, under, index = self._facts, self._under, self._facts.held.index
        yield facts.dossier.spooled, self._w("read_again" if facts.dossier.spooled else "not_read", index=index)
        if under.opened is None or facts.held.proof is None:
            yield False, self._w("unproven", index=index)
        else:
            yield True, self._w("proven", index=index, size=under.opened.checkpoint.size)
            for one in under.opened.signatures:
                if one.cosigned_at is not None:
                    time = _time(f"{one.cosigned_at:%Y-%m-%dT%H:%M:%S}Z")
                    yield True, self._w("cosigned", name=_code(one.by.name), time=time)
            yield under.cosigned, self._w("quorum" if under.cosigned else "no_quorum")
        if facts.receipt is None:
            yield False, self._w("no_receipt")
        else:
            time = _time(f"{facts.receipt.stored_at:%Y-%m-%dT%H:%M:%S}Z")
            copies = self._w("copies", count=facts.receipt.copies)
            yield True, self._w("receipted", copies=copies, time=time)
        if under.seal.tokens:
            yield False, self._w("token")

    def _again(self) -> str:
        facts = self._facts
        steps = []
        if facts.file is not None:
            steps.append((self._w("again_file"), f"sha256sum {facts.file}"))
        leaf = f"(printf '\\000'; cat custody/{facts.place}.json) | sha256sum"
        steps.append((self._w("again_leaf", hash=_code(facts.leaf_hash)), leaf))
        steps.append((self._w("again_all"), "sh verify.sh"))
        shown = "".join(f"<p>{why}</p>\n<pre>{html.escape(command)}</pre>\n" for why, command in steps)
        return f"{shown}<p>{self._w('again_keys')}</p>\n"

    def _person(self) -> str:
        rows = "".join(
            f"<tr><th>{self._w(word)}</th><td></td></tr>\n" for word in ("name", "function", "date", "signature")
        )
        return f'<table class="sign">\n{rows}</table>\n'
