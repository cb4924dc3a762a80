"""The station's own voice at the agency's broker: what it holds, how it is, and what it hears back.

Everything that is announced is derived from the journal: a crash loses nothing, and what is said twice can be
recognised. A broker's word that it took a message (PUBACK) is no receipt; a receipt that comes by MQTT is verified
exactly as one that comes by HTTPS, and is committed before the broker is told that we have it.

messages   what travels, as models: their JSON Schemas, and the AsyncAPI document, are made from these (`asyncapi`)
outbox     which captures the DEMS has to be told of, and when again
telling    what the messages say of the station
orders     commands: signed by an operator, for this station alone, within a day, once
hearing    receipts and commands as they come: what is believed, and what becomes of it
room       the work: birth, announcements, figures, alarms, heads; receipts and commands
"""

from __future__ import annotations

from agent.broker.room import Broker

__all__ = ["Broker"]
