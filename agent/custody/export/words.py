"""The words of a certificate, in English and in French: one place, so that both say the same."""

# ruff: noqa: RUF001, ISC004 - French has its own apostrophe, and sentences are longer than lines

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVENTS", "LANGUAGES", "WORDS"]

LANGUAGES: Final = ("en", "fr")

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("Certificate of one capture", "Certificat d’une capture"),
    "aid": (
        "This page tells what the files beside it prove. It proves nothing by itself: to check it, do what stands "
        "under “How to check it again”.",
        "Cette page dit ce que prouvent les fichiers qui l’accompagnent. Elle ne prouve rien par elle-même : pour la "
        "vérifier, faites ce qui figure sous « Comment vérifier de nouveau ».",
    ),
    "what": ("What was taken", "Ce qui a été pris"),
    "file": ("File in this bag", "Fichier dans ce dossier"),
    "absent": (
        "not in this bag; its digests are those of the entry",
        "absent de ce dossier; les empreintes sont celles de l’inscription",
    ),
    "length": ("Length", "Longueur"),
    "bytes": ("bytes", "octets"),
    "media_type": ("Media type", "Type de média"),
    "id": ("Id of the capture", "Identifiant de la capture"),
    "group": ("Recording that it belongs to", "Enregistrement auquel elle appartient"),
    "clip": ("Which clip of that recording", "Numéro de séquence dans cet enregistrement"),
    "from": ("From what, in the device’s own words", "De quoi, selon l’appareil lui-même"),
    "said": (
        "What follows is what the device said of itself, unedited. Nobody but the device vouches for it. Characters "
        "that cannot be seen are written as %XX.",
        "Ce qui suit est ce que l’appareil a dit de lui-même, sans retouche. Seul l’appareil en répond. Les caractères "
        "invisibles sont écrits %XX.",
    ),
    "key": ("Its name for the capture", "Son nom pour la capture"),
    "began_at": ("Beginning, by its clock", "Début, selon son horloge"),
    "device": ("Device", "Appareil"),
    "maker": ("Maker", "Fabricant"),
    "model": ("Model", "Modèle"),
    "serial": ("Serial number", "Numéro de série"),
    "firmware": ("Firmware", "Micrologiciel"),
    "claims": ("Further claims", "Autres déclarations"),
    "unsaid": ("not said", "non déclaré"),
    "how": ("How it was taken, as the station found", "Comment elle a été prise, selon le poste"),
    "log": ("Station (name of its log)", "Poste (nom de son journal)"),
    "place": ("Where the device was connected", "Où l’appareil était branché"),
    "driver": ("Driver and device spec", "Pilote et fiche d’appareil"),
    "software": ("Software", "Logiciel"),
    "build": ("digest of the program:", "empreinte du programme :"),
    "recorded_at": ("Held since, by the station’s clock", "Conservée depuis, selon l’horloge du poste"),
    "written": (
        "Entry written, by the clocks of witnesses, not by the station’s",
        "Inscription écrite, selon les horloges des témoins et non celle du poste",
    ),
    "after": ("after {time}", "après {time}"),
    "before": ("before {time}", "avant {time}"),
    "nobody": ("(no witness has said so)", "(aucun témoin ne l’a dit)"),
    "clock": ("The station’s clock at that moment", "L’horloge du poste à ce moment"),
    "synchronised": (
        "synchronised with {source}, largest error {error}",
        "synchronisée sur {source}, erreur maximale {error}",
    ),
    "unsynchronised": ("NOT synchronised (source: {source})", "NON synchronisée (source : {source})"),
    "error": ("{whole}.{rest} ms", "{whole},{rest} ms"),
    "unknown": ("unknown", "inconnue"),
    "story": ("What happened to it", "Ce qui lui est arrivé"),
    "when": ("Time (station)", "Heure (poste)"),
    "entry": ("Entry", "Inscription"),
    "happened": ("What", "Quoi"),
    "who": ("By whom", "Par qui"),
    "agent": ("the station itself", "le poste lui-même"),
    "verified": ("What was verified when this bag was made", "Ce qui a été vérifié à la création de ce dossier"),
    "read_again": (
        "The bytes were read again and have the SHA-256 and the length of entry {index}.",
        "Les octets ont été relus et ont le SHA-256 et la longueur de l’inscription {index}.",
    ),
    "not_read": (
        "The bytes are no longer on the station and were not read again.",
        "Les octets ne sont plus sur le poste et n’ont pas été relus.",
    ),
    "proven": (
        "Entry {index} stands in the log of {size} entries that the station signed.",
        "L’inscription {index} se trouve dans le journal de {size} inscriptions signé par le poste.",
    ),
    "unproven": (
        "No proof leads from entry {index} to a signed log.",
        "Aucune preuve ne mène de l’inscription {index} à un journal signé.",
    ),
    "cosigned": (
        "The witness {name} cosigned that log at {time}, by its own clock.",
        "Le témoin {name} a contresigné ce journal à {time}, selon sa propre horloge.",
    ),
    "quorum": (
        "The witnesses are as many as the policy asks for.",
        "Les témoins sont aussi nombreux que la politique l’exige.",
    ),
    "no_quorum": (
        "The witnesses are FEWER than the policy asks for: only the station vouches for its log.",
        "Les témoins sont MOINS nombreux que la politique l’exige : seul le poste répond de son journal.",
    ),
    "receipted": (
        "The evidence system signed that it stores exactly these bytes ({copies}), since {time}, by its clock.",
        "Le système de gestion a signé qu’il conserve exactement ces octets ({copies}), depuis {time}, selon son "
        "horloge.",
    ),
    "copies": ("copies: {count}", "copies : {count}"),
    "no_receipt": (
        "No signed receipt of the evidence system is in this bag.",
        "Aucun reçu signé du système de gestion ne figure dans ce dossier.",
    ),
    "token": (
        "A time stamp (RFC 3161) over that log is in this bag; it was not verified here.",
        "Un horodatage (RFC 3161) de ce journal figure dans ce dossier; il n’a pas été vérifié ici.",
    ),
    "again": ("How to check it again", "Comment vérifier de nouveau"),
    "again_file": (
        "The file: this must print the SHA-256 above.",
        "Le fichier : ceci doit afficher le SHA-256 ci-dessus.",
    ),
    "again_all": (
        "Everything, with sh, openssl and xxd: lines with OK, and none with FAILED.",
        "Le tout, avec sh, openssl et xxd : des lignes OK, et aucune FAILED.",
    ),
    "again_leaf": (
        "The hash of the entry in the log’s tree, by hand: this must print {hash}.",
        "Le hachage de l’inscription dans l’arbre du journal, à la main : ceci doit afficher {hash}.",
    ),
    "again_keys": (
        "Then compare keys/vkeys with the keys that the agency publishes. VERIFY.txt explains each step.",
        "Comparez ensuite keys/vkeys avec les clés que publie l’organisme. VERIFY.txt explique chaque étape.",
    ),
    "person": ("For the person who made this copy", "Pour la personne qui a fait cette copie"),
    "name": ("Name", "Nom"),
    "function": ("Function", "Fonction"),
    "date": ("Place and date", "Lieu et date"),
    "signature": ("Signature", "Signature"),
    "made": (
        "Made on {date} by Evidock {version}. Times are UTC.",
        "Fait le {date} par Evidock {version}. Les heures sont en UTC.",
    ),
}

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "capture.changed_after_seen": (
        "the device holds other bytes now",
        "l’appareil contient maintenant d’autres octets",
    ),
    "capture.context": (
        "what belongs to it, by device and time",
        "ce qui s’y rapporte, par appareil et par heure",
    ),
    "capture.offered_again": ("the device offered it again", "l’appareil l’a offerte de nouveau"),
    "part.explained": (
        "what had arrived of it before was proved to be its beginning",
        "ce qui en était arrivé auparavant s'est avéré être son début",
    ),
    "capture.found": (
        "its file was missing on the station, and was found there again, byte for byte",
        "son fichier manquait au poste et y a été retrouvé, octet pour octet",
    ),
    "receipt.dated": (
        "its receipt was dated by a clock that was not right",
        "son reçu a été daté par une horloge qui n’était pas à l’heure",
    ),
    "fixity.checked": ("its bytes were read again and compared", "ses octets ont été relus et comparés"),
    "held": ("taken: copied, hashed and kept", "prise : copiée, hachée et conservée"),
    "operator.command": ("a person’s order", "un ordre d’une personne"),
    "purged": ("its bytes left the station", "ses octets ont quitté le poste"),
    "quarantined": ("set aside: it is doubted", "mise à l’écart : un doute existe"),
    "receipted": ("the evidence system has it", "le système de gestion l’a reçue"),
    "refused": ("the evidence system refused it", "le système de gestion l’a refusée"),
    "release.intended": (
        "the device’s copy was read again and is equal",
        "la copie de l’appareil a été relue et est identique",
    ),
    "release.refused": ("the device keeps its copy", "l’appareil garde sa copie"),
    "released": ("the device was told to forget it", "l’appareil a reçu l’ordre de l’oublier"),
}
"""What entries are called on paper; an event that is not here stands as it is."""
