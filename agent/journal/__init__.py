"""The custody record: what happened to each capture, once written never changed, and where each therefore stands."""

from agent.journal.book import Journal
from agent.journal.desk import Desk
from agent.journal.entry import Event

__all__ = ["Desk", "Event", "Journal"]
