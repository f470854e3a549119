"""A table of transitions is the whole of a state machine."""

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.transitions import IllegalTransitionError, Transitions


class State(StrEnum):
    OPEN = "OPEN"
    PAID = "PAID"
    CLOSED = "CLOSED"


class Event(StrEnum):
    PAY = "PAY"
    CLOSE = "CLOSE"


states, events = st.sampled_from(State), st.sampled_from(Event)
tables = st.dictionaries(st.tuples(states, events), states)
INVOICE = Transitions(
    {
        (State.OPEN, Event.PAY): State.PAID,
        (State.OPEN, Event.CLOSE): State.CLOSED,
        (State.PAID, Event.PAY): State.PAID,
    }
)


@given(tables, states, events)
def test_an_event_leads_where_the_table_says_or_nowhere(
    table: dict[tuple[State, Event], State], state: State, event: Event
) -> None:
    machine = Transitions(table)
    if (state, event) in table:
        assert machine.to(state, event) is table[state, event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"{event} does not happen in {state}"):
            machine.to(state, event)


@given(tables, events)
def test_the_sources_of_an_event_are_the_states_in_which_it_happens(
    table: dict[tuple[State, Event], State], event: Event
) -> None:
    assert Transitions(table).sources(event) == {
        state for state in State if (state, event) in table
    }


@pytest.mark.parametrize(
    ("state", "terminal"), [(State.OPEN, False), (State.PAID, True), (State.CLOSED, True)]
)
def test_a_state_that_leads_to_no_other_is_terminal(state: State, *, terminal: bool) -> None:
    assert INVOICE.is_terminal(state) is terminal
