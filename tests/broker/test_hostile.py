"""Whatever comes from the broker is a value or a `Refusal`: cut after every byte, altered, and made up."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.broker.messages import CommandGiven, Order, ReceiptGiven
from agent.broker.orders import Signed, opened, signed
from agent.capture import canonical, rfc3339
from agent.errors import Refusal
from agent.note import Signer, sign
from tests.broker.test_commands import ALICE, order, payload

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = int(os.environ.get("EVIDOCK_BROKER_EXAMPLES", "50"))
GOOD = CommandGiven.model_validate_json(payload(order("prioritise", capture="8a3f1122", priority="first"))).note
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def read(note: str) -> Signed | None:
    try:
        return opened(note, [ALICE.verifier])
    except Refusal:
        return None


def test_the_good_one_is_read_and_no_cut_of_it_is() -> None:
    assert read(GOOD) is not None
    assert not any(read(GOOD[:length]) for length in range(len(GOOD)))


@given(st.integers(0, len(GOOD) - 1), st.characters())
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_single_change_is_taken(place: int, character: str) -> None:
    altered = GOOD[:place] + character + GOOD[place + 1 :]
    assert altered == GOOD or read(altered) is None


@given(st.dictionaries(st.sampled_from([*Order.model_fields, "schema", "more"]), ANYTHING, max_size=10))
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_an_operator_signs_by_mistake_is_refused(body: Mapping[str, object]) -> None:
    """Rightly signed, and no command: the parser alone decides."""
    try:
        text = canonical({**json.loads(canonical(dict(order().model_dump(by_alias=True, exclude_none=True)))), **body})  # type: ignore[dict-item]
    except ValueError:
        return
    note = sign(f"evidock-command/v1\n{text.decode()}\n", ALICE).decode()
    found = read(note)
    assert found is None or canonical(found.order.model_dump(by_alias=True, exclude_none=True)) == text


@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_payload_is_one_or_is_refused_by_its_own_error(raw: bytes) -> None:
    for model in (ReceiptGiven, CommandGiven):
        try:
            model.model_validate_json(raw)
        except ValidationError:
            continue


def test_lengths_are_bounded() -> None:
    for raw in (
        json.dumps({"schema": "receipt/1", "receipts": ["x"] * 17}),
        json.dumps({"schema": "receipt/1", "receipts": ["x" * 16385]}),
        json.dumps({"schema": "receipt/1", "receipts": []}),
    ):
        with pytest.raises(ValidationError):
            ReceiptGiven.model_validate_json(raw)
    with pytest.raises(ValidationError):
        CommandGiven.model_validate_json(json.dumps({"schema": "cmd/1", "note": "x" * 8193}))


@pytest.mark.parametrize("hours", [25, 0, -1])
def test_a_command_holds_for_a_day_at_most_and_not_backwards(hours: int) -> None:
    """Whatever tool an operator signed it with."""
    now = datetime.now(UTC)
    wanted = order(not_before=rfc3339(now), not_after=rfc3339(now + timedelta(hours=hours)))
    text = canonical(wanted.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()
    with pytest.raises(Refusal, match="a day at most"):
        opened(sign(f"evidock-command/v1\n{text}\n", ALICE).decode(), [ALICE.verifier])
    with pytest.raises(Refusal, match="a day at most"):
        signed(wanted, ALICE)


def test_who_signs_heads_of_logs_orders_nothing() -> None:
    """A witness's key is no operator's, even where somebody wrote it among them."""
    witness = Signer.cosigner("witness.example.org", bytes(32)).at(datetime.now(UTC))
    text, _, _ = GOOD.partition("\n\n")
    with pytest.raises(Refusal, match="no operator"):
        opened(sign(f"{text}\n", witness).decode(), [ALICE.verifier, witness.verifier])
