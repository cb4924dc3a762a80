"""Tests of rooms that take long: `make rooms` runs them, `make test` their short form."""

from __future__ import annotations

import os

import pytest

__all__ = ["long"]

long = pytest.mark.skipif(not os.environ.get("EVIDOCK_ROOMS_LONG"), reason="takes long: make rooms runs it")
