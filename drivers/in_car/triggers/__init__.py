"""What is switched in a car: ignition, light bar, siren and whatever else is wired. Each change is an observation.

dock      the COBAN In-Car Trigger        modbus    any Modbus RTU module with digital inputs
levels    debounced, and told             asking    question and answer over a line
"""

from __future__ import annotations

from drivers.in_car.triggers.dock import TriggerDock
from drivers.in_car.triggers.modbus import ModbusInputs

__all__ = ["ModbusInputs", "TriggerDock"]
