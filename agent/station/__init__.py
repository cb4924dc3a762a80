"""The local service: what the daemon tells people and programs on this station, and the acts that it takes."""
