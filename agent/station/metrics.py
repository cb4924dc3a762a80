"""The picture of the moment as metrics, named after the Prometheus conventions. No label says whose or of what.

Labels are the standing, the bay's name from agent.toml, the destination's name, and the id of a repair notice: words
that an administrator wrote or that stand in the code. Nothing that a device, an officer or a DEMS said becomes a label.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from agent.station.bays import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from agent.station.views import View

__all__ = ["metrics"]


class _Told:
    """A collector that was asked before."""

    def __init__(self, told: Iterable[Metric]) -> None:
        self._told = list(told)

    def collect(self) -> Iterable[Metric]:
        return self._told


def metrics(picture: View, counts: Mapping[str, int], accept: str) -> tuple[bytes, str]:
    """(text, content type). `counts`: `taken_bytes`, `listeners`, `listeners_dropped`, `connections_refused`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told([*_station(picture["status"]), *_bays(picture["bays"]), *_service(counts)]))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _gauge(name: str, said: str, value: float | None) -> Iterator[Metric]:
    """A single value; its name alone where it is not known."""
    yield GaugeMetricFamily(f"evidock_{name}", said, value=value)


def _by(name: str, said: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(f"evidock_{name}", said, labels=labels)
    for words, value in values.items():
        family.add_metric(words, value)
    return family


def _station(status: View) -> Iterator[Metric]:
    tally, room, signed, clock = status["tally"], status["room"], status["checkpoint"], status["clock"]
    yield _by("build_info", "Always 1; the version of the agent.", ("version",), {(status["version"],): 1})
    yield from _gauge("start_time_seconds", "When the agent started.", _seconds(status["started_at"]))
    yield _by("captures", "Captures by standing.", ("standing",), {(k,): v["captures"] for k, v in tally.items()})
    yield _by(
        "capture_bytes", "Bytes of captures by standing.", ("standing",), {(k,): v["bytes"] for k, v in tally.items()}
    )
    yield from _gauge("parts_aside", "Parts of captures that lie aside.", status["aside"]["parts"])
    oldest = _seconds(status["backlog"]["oldest_at"])
    yield from _gauge(
        "backlog_oldest_held_timestamp_seconds", "Since when the capture that waits longest is held.", oldest
    )
    for way, word in (("taking", "being taken"), ("sending", "being sent")):
        yield from _gauge(f"{way}_captures", f"Captures that are {word}.", status[way]["captures"])
        yield from _gauge(f"{way}_bytes_per_second", f"Bytes per second of what is {word}.", status[way]["rate"] or 0.0)
    yield from _gauge("spool_size_bytes", "Size of the spool's disk.", room["total"])
    yield from _gauge("spool_free_bytes", "Free bytes of the spool's disk.", room["free"])
    yield from _gauge("spool_usable_bytes", "Free bytes above the watermark: what can still be taken.", room["usable"])
    yield from _gauge("spool_full_in_seconds", "Seconds until the spool is full at today's rate.", room["full_in"])
    yield from _gauge("log_entries", "Entries of the custody log.", status["log"]["size"])
    yield from _gauge("log_signed_entries", "Entries under the newest checkpoint.", signed["size"])
    yield from _gauge("log_cosigned_entries", "Entries under the newest cosigned checkpoint.", signed["cosigned_size"])
    yield from _gauge("log_contradictions", "Witnesses who know another history of the log.", signed["contradictions"])
    yield from _gauge("clock_synchronised", "1 where something keeps the station's clock right.", clock["synchronised"])
    uncertainty = clock["uncertainty_us"]
    yield from _gauge(
        "clock_uncertainty_seconds",
        "Largest error that the kernel admits.",
        None if uncertainty is None else uncertainty / 1e6,
    )
    yield _by(
        "link_up", "1 where the destination answers.", ("link",), {(k["name"],): k["up"] for k in status["links"]}
    )
    found: dict[tuple[str, ...], float] = {}
    for one in status["problems"]:
        key = (one["id"], one["state"])
        found[key] = found.get(key, 0) + 1
    yield _by("notices", "What a person should look at, by its id (docs/repairs.md).", ("notice", "state"), found)


def _bays(bays: Iterable[View]) -> Iterator[Metric]:
    bays = list(bays)
    sums = dict.fromkeys(STATES, 0)
    for bay in bays:
        sums[bay["state"]] += 1
    yield _by("bays", "Bays by what they say.", ("state",), {(state,): count for state, count in sums.items()})
    states: dict[tuple[str, ...], float] = {
        (bay["name"], state): float(bay["state"] == state) for bay in bays for state in STATES
    }
    yield _by("bay_state", "1 for what the bay says now.", ("bay", "state"), states)
    for name, said in (("listed", "that the device lists"), ("unexplained", "that are neither safe nor explained")):
        values: dict[tuple[str, ...], float] = {
            (bay["name"],): bay["index"][name] for bay in bays if bay["index"] is not None
        }
        yield _by(f"bay_captures_{name}", f"Captures {said}, as of its last whole look.", ("bay",), values)


def _service(counts: Mapping[str, int]) -> Iterator[Metric]:
    yield CounterMetricFamily("evidock_taken_bytes", "Bytes read from devices since the start.", counts["taken_bytes"])
    yield from _gauge("status_listeners", "Who listens to events.", counts["listeners"])
    dropped = "Listeners that were too slow, and were cut off."
    yield CounterMetricFamily("evidock_status_listeners_dropped", dropped, counts["listeners_dropped"])
    refused = "Connections that were refused because there were too many."
    yield CounterMetricFamily("evidock_status_connections_refused", refused, counts["connections_refused"])


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
