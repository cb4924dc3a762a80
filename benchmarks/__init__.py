"""Evidock beside what a station would use instead, measured in the same run: `make bench`."""
