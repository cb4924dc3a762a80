"""The suite of all uplinks in short, for rigs that take long: a test of most sentences; `make stores` has all."""

from __future__ import annotations

import os

import pytest

from agent.testing.uplink_conformance import UplinkConformance as Whole

LONG = "EVIDOCK_STORES_LONG"
long_form = pytest.mark.skipif(LONG not in os.environ, reason="the long form: make stores")
short_form = pytest.mark.skipif(LONG in os.environ, reason="the long form has it")


@short_form
class Brief:
    """Derive from this and from what has `rig`."""

    test_2_a_restarted_agent_continues = Whole.test_2_a_restarted_agent_continues
    test_3_what_is_sent_again_is_known = Whole.test_3_what_is_sent_again_is_known
    test_4_a_no_is_a_no = Whole.test_4_a_no_is_a_no
    test_4_a_receiver_that_does_not_answer_is_down = Whole.test_4_a_receiver_that_does_not_answer_is_down
    test_6_other_bytes_never_become_a_receipt = Whole.test_6_other_bytes_never_become_a_receipt
    test_8_it_gives_way_between_requests = Whole.test_8_it_gives_way_between_requests
    test_a_whole_life = Whole.test_a_whole_life
