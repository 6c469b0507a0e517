"""Two guests and the host do whatever they like with ends of streams and futures, and a model says what has to come of
it: what each built-in returns, one event for each copy, the state of each end, and what is in tables and memories."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from runtime_fakes import U32, Guest, HostImport
from stream_model import SAME_INSTANCE, End, State
from stream_world import ELEMENTS, EVENT, GUESTS, HOST, StreamWorld

MAX_CHANNELS = 3
picks = st.integers(0, 20)
sizes = st.sampled_from([1, 2, 0, 6])
names = st.sampled_from(GUESTS)
holders = st.sampled_from([*GUESTS, HOST])
channels = st.tuples(holders, holders, st.sampled_from(list(ELEMENTS)), st.sampled_from([False, False, True]))
"""Who makes a channel, who is given its readable end, which elements it has, and whether it is a future."""


class StreamMachine(RuleBasedStateMachine, StreamWorld):
    @initialize(seed=st.integers(0, 1 << 16), channels=st.lists(channels, min_size=1, max_size=2))
    def start(self, seed: int, channels: list[tuple[str, str, str, bool]]) -> None:
        self.open(seed)
        for channel in channels:
            self.make(*channel)

    def pick(self, pick: int, **wanted: Any) -> End | None:
        """One of the ends that have the attributes that are wanted."""
        ends = [end for channel in self.channels for end in channel.ends]
        ends = [end for end in ends if all(getattr(end, name) == value for name, value in wanted.items())]
        return ends[pick % len(ends)] if ends else None

    def pick_set(self, name: str, pick: int) -> int:
        """The index of a waitable set, 0 if there is none."""
        sets = self.sets.get(name, [])
        return sets[pick % len(sets)] if sets else 0

    @precondition(lambda self: len(self.channels) < MAX_CHANNELS)
    @rule(channel=channels)
    def new(self, channel: tuple[str, str, str, bool]) -> None:
        self.make(*channel)

    @rule(pick=picks, size=sizes, eager=st.booleans())
    def read(self, pick: int, size: int, eager: bool) -> None:
        end = self.pick(pick, reads=True, state=State.IDLE) or self.pick(pick)
        if end is not None:
            self.copy(end, size, False, eager)

    @rule(pick=picks, size=sizes, eager=st.booleans())
    def write(self, pick: int, size: int, eager: bool) -> None:
        end = self.pick(pick, reads=False, state=State.IDLE) or self.pick(pick)
        if end is not None:
            self.copy(end, size, False, eager)

    @rule(pick=picks, size=sizes)
    def copy_sync(self, pick: int, size: int) -> None:
        end = self.pick(pick)
        if end is not None:
            self.copy(end, size, True, True)

    @rule(pick=picks, size=sizes, eager=st.booleans())
    def meet(self, pick: int, size: int, eager: bool) -> None:
        """One end copies with the other, which was there first."""
        ends = [end.other for channel in self.channels for end in channel.ends if end.copy and end.copy.offered]
        ends = [end for end in ends if not end.dropped and end.problem_of_copy(False) is None]
        if ends:
            self.copy(ends[pick % len(ends)], size, False, eager)

    @rule(pick=picks, is_sync=st.booleans())
    def cancel(self, pick: int, is_sync: bool) -> None:
        end = self.pick(pick, state=State.COPYING)
        if end is not None and end.problem_of_cancel(is_sync) is None:
            self.cancel_copy(end, is_sync)

    @rule(pick=picks, chance=st.integers(0, 3))
    def drop(self, pick: int, chance: int) -> None:
        end = self.pick(pick)
        if end is not None and not chance and end.problem_of_drop() is None:
            self.drop_end(end)

    @rule(pick=picks)
    def look_at(self, pick: int) -> None:
        end = self.pick(pick, holder=HOST, state=State.COPYING)
        if end is not None and end.copy is not None and end.copy.result is not None:
            self.sound = False
            self.look(end)

    @rule(name=names)
    def new_set(self, name: str) -> None:
        if len(self.sets[name]) < 3:
            self.make_set(name)

    @rule(pick=picks, set_pick=picks, leave=st.integers(0, 3))
    def join(self, pick: int, set_pick: int, leave: int) -> None:
        end = self.pick(pick)
        if end is None or end.holder == HOST:
            return
        if end.problem_of_join() is None:
            self.join_set(end, self.pick_set(end.holder, set_pick) if leave < 3 else 0)

    @rule(name=names, pick=picks)
    def poll(self, name: str, pick: int) -> None:
        set_index = self.pick_set(name, pick)
        if set_index:
            self.poll_set(name, set_index)

    @rule(pick=picks, leaves=st.integers(0, 3))
    def poll_for_one(self, pick: int, leaves: int) -> None:
        """A guest asks for the event of one end, or has it leave its set before it asks."""
        end = self.pick(pick, state=State.COPYING, waits=False)
        if end is None or end.holder == HOST:
            return
        set_index = end.in_set or self.pick_set(end.holder, pick)
        if set_index:
            self.join_set(end, set_index)
            self.agree()
            if leaves == 3:
                self.join_set(end, 0)
            self.poll_set(end.holder, set_index)

    @rule(name=names, pick=picks)
    def wait(self, name: str, pick: int) -> None:
        set_index = self.pick_set(name, pick)
        if set_index and len(self.waits.get((name, set_index), ())) < 2:
            self.wait_for_set(name, set_index)

    @rule(name=names, pick=picks)
    def drop_set(self, name: str, pick: int) -> None:
        set_index = self.pick_set(name, pick)
        if set_index and self.problem_of_set_drop(name, set_index) is None:
            self.perform(self.guests[name], self.guests[name].set_drop(set_index))
            self.sets[name].remove(set_index)

    @rule(pick=picks, to=holders)
    def pass_on(self, pick: int, to: str) -> None:
        end = self.pick(pick, reads=True)
        if end is not None and end.problem_of_transfer() is None:
            self.move(end, to)

    @invariant()
    def agrees(self) -> None:
        self.agree()

    def teardown(self) -> None:
        """A run ends with something that traps, or all is dropped."""
        if not getattr(self, "sound", False):
            return  # the run has failed already
        misuses = self.misuses()
        if misuses and self.random.random() < 0.75:
            self.trap(*self.random.choice(misuses))
        else:
            self.drop_all()

    def trap(self, problem: str, guest: Guest, operation: Callable[[], Any]) -> None:
        answers = self.begin(guest, operation)
        assert answers == []
        assert re.search(problem, self.world.trap()), f"{self.world.trap()!r} where {problem!r} was expected"
        assert self.begin(guest, guest.set_new()) == [], "a guest goes on after a trap"

    def misuses(self) -> list[tuple[str, Guest, Callable[[], Any]]]:
        """What guests could do that traps, with the trap: one of what has the same trap, and the rarer traps alone."""
        found: dict[str, list[tuple[Guest, Callable[[], Any]]]] = {}

        def add(problem: str | None, guest: Guest, operation: Callable[[], Any]) -> None:
            if problem is not None:
                found.setdefault(problem, []).append((guest, operation))

        for end, index in self.indices.items():
            guest, t = self.guests[end.holder], self.type_of(end.channel)
            for is_sync in (False, True):
                copy = guest.copy(end.reads, t, index, self.regions[end], is_async=not is_sync)
                add(end.problem_of_copy(is_sync), guest, copy)
                cancel = guest.cancel_read if end.reads else guest.cancel_write
                add(end.problem_of_cancel(is_sync), guest, cancel(t, index, is_async=not is_sync))
            drop, wrong_drop = guest.drop_readable, guest.drop_writable
            if not end.reads:
                drop, wrong_drop = wrong_drop, drop
            add(end.problem_of_drop(), guest, drop(t, index))
            add(end.problem_of_join(), guest, guest.join(index, 0))
            if end.reads:
                lowered = guest.lower(HostImport(self.world.store, answer=1), (t,), U32)
                add(end.problem_of_transfer(), guest, lowered(index))
            add("is no ", guest, wrong_drop(t, index))
            add("is no ", guest, guest.copy(not end.reads, t, index, self.regions[end]))
            add("is no ", guest, guest.set_poll(index, EVENT))
        for name, sets in self.sets.items():
            guest = self.guests[name]
            for set_index in sets:
                add(self.problem_of_set_drop(name, set_index), guest, guest.set_drop(set_index))
                add("is no ", guest, guest.join(set_index, 0))
        rarest = sorted(found, key=lambda problem: len(found[problem]))[:4]
        return [(problem, *self.random.choice(found[problem])) for problem in rarest]

    def drop_all(self) -> None:
        """Whatever a run has come to, every end can be brought to where it can be dropped."""
        for channel in list(self.channels):
            for end in channel.ends:
                if end.state is State.COPYING and not end.waits:
                    self.cancel_copy(end, is_sync=not end.in_set)
                    self.agree()
            for end in sorted(channel.ends, key=lambda end: end.waits):  # one that a thread waits for comes last
                if end.problem_of_drop() is not None:  # a future that was not written to
                    assert channel.is_future
                    assert not end.reads
                    if end.problem_of_copy(False) is not None:
                        break  # only another instance could write what this one's thread waits for
                    self.write_at_last(end)
                    self.agree()
                self.drop_end(end)
                self.agree()
            assert channel.received == list(range(channel.num_copied))
        for name, guest in self.guests.items():
            for set_index in self.sets[name]:
                if not self.waits.get((name, set_index)) and not self.members(name, set_index):
                    self.perform(guest, guest.set_drop(set_index))
        assert all(end.other.problem_of_copy(False) == SAME_INSTANCE for end in self.sync_copies)

    def write_at_last(self, end: End) -> None:
        """Writes a future that has to be written before its end may be dropped."""
        if end.holder == HOST:
            self.copy_of_host(end, 1, eager=True)
        else:
            self.copy_of_guest(end, 1, False)


StreamMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None, derandomize=True)
test_streams_and_futures_do_what_the_specification_says = StreamMachine.TestCase
