"""In-car systems: recorders in a vehicle that hand over their events when the car comes home, or while it drives."""
