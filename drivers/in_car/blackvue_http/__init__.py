"""BlackVue recorders by HTTP: listed, fetched from any byte on, never deleted from.

driver    the loop: which way it speaks, what it lists, what may still be recording
offers    films and what lies beside them, described by the layout of its cards
"""

from __future__ import annotations

from drivers.in_car.blackvue_http.driver import BlackVueHttp

__all__ = ["BlackVueHttp"]
