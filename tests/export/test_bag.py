"""What stands in a bag, and what an export refuses to write."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from agent.capture import Device, canonical
from agent.custody.export import Keys, evidock_verify, export
from agent.custody.export.manifest import OURS, halves
from agent.custody.export.words import EVENTS, WORDS
from agent.errors import AgentError, BadReceipt, JournalError, Refusal, SpoolDamaged, SpoolError
from agent.journal.entry import Event
from agent.merkle import leaf_hash
from agent.note import Signer
from tests.export.look import failed, load, look, missing, summed
from tests.export.make import AT, CAMERA, KEYS, LABELS, LOG, POLICY, log, receipts, root, station, witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.custody.export import Dossier, Seal
    from tests.export.make import Station

    Read = Callable[[bytes], Iterator[bytes]]

Two = tuple["Station", list[str]]
RECORDING = "manifests/recording-2a6a2a7d-1908-8605-82a5-fb84a0e6b9a6.json"


def test_the_same_inputs_give_the_same_bytes(two: Two, bag: Path, tmp_path: Path) -> None:
    made, captures = two
    assert load(made.export(tmp_path / "again", captures[::-1])) == load(bag)


def test_what_lies_where(two: Two, bag: Path) -> None:
    made, (first, second) = two
    held = load(bag)
    ids = {log.verifier: "log", witness.verifier: "witness", receipts.verifier: "receipts", root.verifier: "root"}
    assert set(held) == {
        *("bagit.txt", "bag-info.txt", "b3sums.txt", "policy.note", "case.jsonld", "VERIFY.txt", "verify.sh"),
        *(f"{tag}manifest-{kind}.txt" for tag in ("", "tag") for kind in ("sha256", "sha512")),
        *(
            f"{folder}/{one}.{end}"
            for one in (first, second)
            for folder, end in (("data", "mp4"), ("manifests", "json"))
        ),
        *(f"certificates/{one}.html" for one in (first, second)),
        *(f"custody/story-{one}.jsonl" for one in (first, second)),
        *(f"custody/{index:06d}.{end}" for index in (1, 3, 4, 5, 6) for end in ("json", "tlog-proof")),
        *("custody/checkpoint", "custody/receipts/000001.note", "custody/receipts/000004.note"),
        *("custody/000003.checkpoint", RECORDING),
        *("keys/vkeys", "keys/root.vkey", *(f"keys/{role}-{key.key_id.hex()}.pem" for key, role in ids.items())),
    }
    assert held["custody/000004.json"] == made.journal.leaves.leaf(4)
    assert held["policy.note"] == POLICY
    assert b"Payload-Oxum: 21.2\n" in held["bag-info.txt"]
    assert (bag / "verify.sh").stat().st_mode & 0o100


def test_a_manifest_is_the_entry_in_two_halves(two: Two, bag: Path) -> None:
    _, (first, second) = two
    told = json.loads((bag / f"manifests/{first}.json").read_bytes())
    leaf = json.loads((bag / "custody/000001.json").read_bytes())
    assert told["recording"] == sorted([first, second])
    assert told["device_said"]["capture"]["claims"] == {"officer": "Tremblay", "battery": "81"}
    assert told["device_said"]["device"]["serial"] == CAMERA.serial
    assert told["station_found"]["device"]["place"] == "bay 1"
    assert told["station_found"]["capture"]["length"] == 10
    again = {**told["station_found"]}
    again.pop("digest")
    for part in OURS:
        assert not set(told["device_said"][part]) & set(told["station_found"][part])
        again[part] = {**told["device_said"][part], **told["station_found"][part]}
    assert again == leaf["predicate"]
    assert halves(leaf) == (told["device_said"], told["station_found"])


def test_the_manifest_of_a_recording_names_its_clips_by_their_entries(two: Two, bag: Path) -> None:
    made, (first, second) = two
    told = json.loads((bag / RECORDING).read_bytes())
    assert (told["device"], told["group"], told["log"]) == (CAMERA.id, "REC-7", LOG)
    assert [(one["capture"], one["clip"]) for one in told["clips"]] == [(first, None), (second, 2)]
    for one in told["clips"]:
        entry = (bag / f"custody/{one['entry']['index']:06d}.json").read_bytes()
        assert one["entry"]["leaf_hash"] == leaf_hash(entry).hex()
        assert one["sha256"] == sha256((bag / one["file"]).read_bytes()).hexdigest()
    alone = made.export(bag.parent / "alone", [first])
    assert not list((alone / "manifests").glob("recording-*"))


def test_an_entry_lies_between_two_times_that_witnesses_state(two: Two, bag: Path) -> None:
    _, (first, second) = two
    told = [json.loads((bag / f"manifests/{one}.json").read_bytes())["written"] for one in (first, second)]
    both, one = "custody/checkpoint", "custody/000003.checkpoint"
    assert told == [{"after": None, "before": both}, {"after": one, "before": both}]
    page = (bag / f"certificates/{second}.html").read_text()
    assert 'after <span class="time">2026-11-22 07:01:00 UTC</span>' in page
    assert 'avant <span class="time">2026-11-22 07:20:00 UTC</span>' in page


def test_what_quotes_something_else_is_neither_written_nor_believed(two: Two, bag: Path, tmp_path: Path) -> None:
    made, (_, second) = two
    seal = made.seal()
    dossier = made.dossier(second, seal)
    other = made.seal(log, witness.at(AT.replace(hour=1))).checkpoint
    wrong = replace(dossier.quoted, checkpoint=other), replace(dossier.quoted, leaf=dossier.story[1])
    for quoted in wrong:
        with pytest.raises(JournalError, match="does not quote"):
            export([replace(dossier, quoted=quoted)], made.spool.read, tmp_path / "no", seal=seal, labels=LABELS)
    held = load(bag)
    for changed in (
        {"custody/000003.checkpoint": other},
        {"custody/000005.checkpoint": held["custody/000003.checkpoint"]},
        {RECORDING: held[RECORDING].replace(b"REC-7", b"REC-9")},
        {RECORDING.replace("2a6a", "2a6b"): held[RECORDING]},
    ):
        assert failed(look(summed(held | changed)))
    del held[RECORDING]
    assert missing(look(summed(held))) == {f"recording {RECORDING[10:]}"}


def test_the_story_is_the_entries(two: Two, bag: Path) -> None:
    _, (first, _) = two
    lines = (bag / f"custody/story-{first}.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["predicate"]["event"] for line in lines[:-1]] == ["held", "receipted"]
    assert lines[0] == (bag / "custody/000001.json").read_bytes()


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


NASTY = '"><script>alert(1)</script><img src=x onerror=y>\u202egnp.exe\x00\x1b[2J{id}%s&amp;'


def test_what_a_device_says_cannot_become_markup_or_a_name(tmp_path: Path) -> None:
    key = "../../etc/<script>x</script>&'\"%0A"
    camera = Device(
        id="usb:<b>1</b>", family="body_worn", driver="bay1", maker=NASTY, model=NASTY, serial=NASTY, firmware=NASTY,
        place=NASTY, spec=NASTY,
    )  # fmt: skip
    with station(tmp_path) as made:
        nested = {"event": "held", "</style><script>": NASTY, "list": [NASTY, {"x": NASTY}]}
        capture = asyncio.run(made.take(key, b"x", device=camera, group=NASTY, **nested))
        made.receipt(capture)
        with made.journal.transaction():
            made.journal.retry(capture, actor=NASTY, why=NASTY)
            made.journal.quarantine(capture, NASTY)
        bag = made.export(tmp_path / "bag", [capture])
    held = load(bag)
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", name) and ".." not in name for name in held)
    assert not failed(look(held))
    text = held[f"certificates/{capture}.html"].decode()
    page = Page(text)
    assert page.tags <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "section",
            "h1",
            "h2",
            "p",
            "code",
            "table",
            "tr",
            "th",
            "td",
        ),
        *("bdi", "br", "span", "ul", "li", "pre", "footer"),
    }
    assert page.names <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert "src=" not in text.replace("src=x", "")
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    shown = '"><script>alert(1)</script><img src=x onerror=y>%E2%80%AEgnp.exe%00%1B[2J{id}%s&amp;'
    assert page.text.count(shown) >= 10  # all of it is there to be read, as text
    assert json.loads(held[f"manifests/{capture}.json"])["device_said"]["device"]["maker"] == NASTY
    assert held[f"manifests/{capture}.json"].isascii()
    assert held["case.jsonld"].isascii()


def test_a_page_says_the_same_in_both_languages(two: Two, bag: Path) -> None:
    _, (first, _) = two
    text = (bag / f"certificates/{first}.html").read_text()
    english, french = text.split('<section lang="fr">')
    for one in (english, french):
        assert one.count(first) >= 3
        assert re.search(r"\b1[.,]200 ms", one)
        assert "2026-11-22 07:20:00 UTC" in one
        assert one.count('<li class="yes">') == 5
    assert "taken: copied, hashed and kept" in english
    assert "prise : copiée, hachée et conservée" in french
    assert 'class="no"' not in text
    assert all(len(pair) == 2 and all(pair) for pair in (*WORDS.values(), *EVENTS.values()))
    assert {re.sub(r"[^{}a-z]", "", pair[0]).count("{") for pair in WORDS.values()}
    for name, (one, other) in WORDS.items():
        assert sorted(re.findall(r"{\w+}", one)) == sorted(re.findall(r"{\w+}", other)), name
    assert set(EVENTS) <= {event.value for event in Event}
    for word in ("admissible", "tamper", "inviolable", "recevable"):
        assert word not in text.lower()


def test_what_is_not_there_is_said(two: Two, tmp_path: Path) -> None:
    made, (first, _) = two
    whole, seal = made.dossier(first, made.seal()), made.seal()

    def bag(name: str, dossier: Dossier = whole, seal: Seal = seal) -> tuple[set[str], set[str], str]:
        export([dossier], made.spool.read, tmp_path / name, seal=seal, labels=LABELS)
        found = look(load(tmp_path / name))
        return missing(found), failed(found), (tmp_path / name / f"certificates/{first}.html").read_text()

    gone, wrong, page = bag("no-receipt", replace(whole, receipt=None))
    assert (gone, wrong) == ({f"receipt {first}"}, set())
    assert "No signed receipt" in page
    gone, wrong, page = bag("no-bytes", replace(whole, spooled=False))
    assert (gone, wrong) == ({f"capture {first}"}, set())
    assert "no longer on the station" in page
    assert not list((tmp_path / "no-bytes/data").iterdir())
    alone = made.seal(log)
    gone, wrong, page = bag("no-witness", made.dossier(first, alone), alone)
    assert (gone, wrong) == ({"quorum dems"}, set())
    assert "FEWER" in page
    bare = replace(seal, checkpoint=None)
    gone, wrong, page = bag("no-checkpoint", made.dossier(first, bare), bare)
    assert (gone, wrong) == ({"checkpoint checkpoint", "entry 000001", "entry 000005"}, set())
    assert "No proof leads" in page
    late = replace(whole, story=(whole.story[0], replace(whole.story[1], proof=None)))
    gone, wrong, _ = bag("no-proof", late)  # it is no late one: it stands below the checkpoint
    assert (gone, "entry 000005" in wrong) == (set(), True)
    trusting = made.seal(policy=None, keys=replace(KEYS, root=None))
    assert bag("no-policy", made.dossier(first, trusting), trusting)[:2] == (set(), set())
    assert evidock_verify.main([str(tmp_path / "no-receipt")]) == 3


def test_what_does_not_hold_is_not_written(two: Two, tmp_path: Path) -> None:
    made, (first, second) = two
    seal = made.seal()
    one, other = made.dossier(first, seal), made.dossier(second, seal)
    leaf = one.story[0]
    folder = tmp_path / "bag"

    def refused(error: type[AgentError], *dossiers: Dossier, seal: Seal = seal, read: Read = made.spool.read) -> None:
        with pytest.raises(error):
            export(dossiers, read, folder, seal=seal, labels=LABELS)
        assert not list(tmp_path.iterdir())

    refused(Refusal)
    refused(Refusal, one, one)
    refused(SpoolDamaged, one, read=lambda _: iter([b"other byte"]))
    refused(SpoolDamaged, one, read=lambda _: iter([]))
    refused(JournalError, replace(one, capture="../x"))
    refused(JournalError, replace(one, capture=second))
    refused(JournalError, replace(one, story=one.story[::-1]))
    refused(JournalError, replace(one, story=one.story[1:]))
    refused(JournalError, replace(one, story=(*one.story, other.story[0])))
    refused(JournalError, replace(one, story=(replace(leaf, entry=leaf.entry + b" "), one.story[1])))
    refused(JournalError, replace(one, story=(replace(leaf, index=2), one.story[1])))
    refused(JournalError, replace(one, story=(replace(leaf, proof=other.story[0].proof), one.story[1])))
    refused(JournalError, made.dossier(first, made.seal(log)))  # a proof under another checkpoint than the bag's
    refused(BadReceipt, replace(one, receipt=other.receipt))
    refused(BadReceipt, replace(one, receipt=made.notes[first].replace(b"copies 2", b"copies 3")))
    refused(JournalError, one, seal=replace(seal, keys=Keys()))
    refused(JournalError, one, seal=replace(seal, log="edge.example.org/dock-0001/log1"))
    strange = Signer.ed25519(root.verifier.name, bytes(32))
    refused(JournalError, one, seal=replace(seal, keys=replace(KEYS, root=strange.verifier)))
    refused(SpoolError, one, read=lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    folder.mkdir()
    with pytest.raises(Refusal, match="is there already"):
        made.export(folder, [first])
    assert not list(folder.iterdir())


def test_an_export_that_was_cut_off_is_not_taken_for_one(two: Two, tmp_path: Path) -> None:
    made, captures = two
    (tmp_path / ".bag.unfinished").mkdir()
    with pytest.raises(Refusal, match="unfinished"):
        made.export(tmp_path / "bag", captures)


def test_a_receipt_of_before_is_refused(tmp_path: Path) -> None:
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        made.receipt(capture, stored_at=AT - timedelta(days=1, hours=1))
        with pytest.raises(BadReceipt, match="before"):
            made.export(tmp_path / "bag", [capture])


def test_a_station_whose_clock_is_ahead_of_the_dems_exports_all_the_same(tmp_path: Path) -> None:
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        made.receipt(capture, stored_at=AT - timedelta(seconds=30))
        made.export(tmp_path / "bag", [capture])


def test_leaves_are_canonical(two: Two, bag: Path) -> None:
    for path in (bag / "custody").glob("0*.json"):
        assert canonical(json.loads(path.read_bytes())) == path.read_bytes()
