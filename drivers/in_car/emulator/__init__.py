"""The far ends of a car's lines: devices on a pseudo-terminal, for tests and by hand.

python -m drivers.in_car.emulator gnss /tmp/gnss LOG     replays a recorded log of a receiver, again and again
python -m drivers.in_car.emulator dock /tmp/dock         a trigger dock; each line of input sets its inputs
"""
