"""The queue of the server: nothing lost, nothing twice, nobody passed over."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segbench.serve.queue import Queue, Waiting
from segbench.serve.refusal import Refusal
from segbench.serve.request import Answer
from segbench.serve.settings import MIB, Settings

ANSWER = Answer("m", "1", {})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def make(clock=time.monotonic, **limits):
    return Queue(Settings(**{"max_queue": 8, "max_batch": 4, "max_delay_ms": 0.0} | limits), clock)


def one(client="a", key="k", images=1, size=1, deadline=float("inf"), **more):
    return Waiting(client, key, images, size, deadline, **more)


def put(queue, *waiting):
    for each in waiting:
        queue.put(each)
    return list(waiting)


def test_clients_take_turns_and_share_a_batch_of_one_key():
    queue = make()
    flood = put(queue, *(one("a", "k") for _ in range(5)))
    lone, same = put(queue, one("b", "other"), one("c", "k"))
    assert queue.take() == [flood[0], same]  # b is passed over, so nobody is served twice
    assert queue.take() == [lone]
    assert queue.take() == flood[1:]  # alone, a fills a batch
    assert len(queue) == queue.size == 0


@pytest.mark.parametrize("clients", [2, 5])
def test_a_flood_delays_others_by_one_batch_at_most(clients):
    queue = make(max_queue=1000)
    put(queue, *(one("flood", "k0") for _ in range(100)))
    polite = put(queue, *(one(f"client {i}", f"k{i}") for i in range(1, clients)))
    served = [waiting for _ in range(clients) for waiting in queue.take()]
    assert [waiting for waiting in served if waiting.client != "flood"] == polite
    assert sum(waiting.client == "flood" for waiting in served) <= 1 + 4


def test_a_batch_has_no_more_images_than_asked_for_but_always_one_request():
    queue = make()
    first, second, third, big = put(queue, one(images=3), one(images=2), one(images=2), one(images=9))
    assert queue.take() == [first]
    assert queue.take() == [second, third]
    assert queue.take() == [big]


def test_what_finds_no_place_is_told_when_there_will_be_one():
    queue = make(max_queue=2, max_queue_mib=1)
    queue.served(2, 6.0)
    put(queue, one(size=MIB // 2), one(size=MIB // 2))
    with pytest.raises(Refusal, match="2 requests are waiting") as full:
        queue.put(one())
    assert (full.value.kind, full.value.retry_after) == ("busy", 3.0)
    with pytest.raises(Refusal) as larger:
        queue.put(one(size=MIB))  # both have to go first
    assert larger.value.retry_after == 6.0
    with pytest.raises(Refusal) as never:
        queue.put(one(size=MIB + 1))
    assert never.value.kind == "too large"
    assert len(queue) == 2
    assert queue.size == MIB


def test_what_is_cancelled_never_runs_and_makes_room():
    queue = make(max_queue=2)
    gone, stays = put(queue, one(), one("b"))
    assert gone.future.cancel()
    assert (len(queue), queue.size) == (1, 1)
    queue.put(one("c"))
    assert [waiting.client for waiting in queue.take()] == ["b", "c"]
    assert not stays.future.cancel()  # it runs


def test_what_is_overdue_is_refused_whether_taken_or_not():
    clock, ends = Clock(), []
    queue = make(clock)
    late, soon, good = put(
        queue,
        one(deadline=1, ended=lambda _, refusal: ends.append(refusal.kind)),
        one("b", deadline=5),
        one("c", deadline=9),
    )
    clock.now = 2
    assert queue.expire() == 1
    assert late.future.exception(0).kind == "late"
    assert ends == ["late"]
    clock.now = 6
    assert queue.take() == [good]
    assert soon.future.exception(0).kind == "late"


def test_a_batch_is_waited_for_until_it_is_full():
    queue = make(max_delay_ms=10_000, max_batch=2)
    found = []
    taker = threading.Thread(target=lambda: found.append(queue.take()))
    taker.start()
    first = put(queue, one("a"))
    time.sleep(0.05)
    assert not found  # it waits for another one of its key
    second = put(queue, one("b"))
    taker.join(30)
    assert found == [first + second]


def test_delay_ends():
    queue = make(max_delay_ms=20)
    [waiting] = put(queue, one())
    assert queue.take() == [waiting]


def test_closed_it_takes_nothing_and_hands_out_what_waits_at_once():
    queue = make(max_delay_ms=10_000)
    [waiting] = put(queue, one())
    queue.close()
    with pytest.raises(Refusal, match="stopping"):
        queue.put(one())
    assert queue.take() == [waiting]
    assert queue.take() == []


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 6), st.sampled_from([2, 50])
        ),
        st.tuples(st.just("take")),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(st.just("expire")),
    ),
    max_size=60,
)


class Played:
    """A queue on which operations are carried out, and what has to hold after each."""

    def __init__(self):
        self.clock = Clock()
        self.queue = make(self.clock)
        self.accepted, self.taken, self.ended = [], [], Counter()

    def put(self, client, key, images, left):
        waiting = one(client, key, images, 1, self.clock.now + left, ended=lambda w, _: self.ended.update([id(w)]))
        if len(self.queue) == 8:
            with pytest.raises(Refusal):
                self.queue.put(waiting)
        else:
            self.queue.put(waiting)
            self.accepted.append(waiting)

    def take(self):
        # with nothing to hand out it would wait
        if any(not w.future.done() and w.deadline >= self.clock.now for w in self.accepted):
            batch = self.queue.take()
            assert len({waiting.key for waiting in batch}) == 1
            assert len(batch) == 1 or sum(waiting.images for waiting in batch) <= 4
            assert all(self.clock.now <= waiting.deadline for waiting in batch)
            self.answer(batch)

    def answer(self, batch):
        for waiting in batch:
            waiting.answer(ANSWER)
        self.taken += batch

    def cancel(self, number):
        if number < len(self.accepted):
            self.accepted[number].future.cancel()

    def wait(self, seconds):
        self.clock.now += seconds

    def expire(self):
        self.queue.expire()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_every_request_ends_once_and_only_once(operations):
    played = Played()
    for name, *of in operations:
        getattr(played, name)(*of)
        assert len(played.queue) == played.queue.size == sum(not w.future.done() for w in played.accepted)
    played.queue.close()
    while batch := played.queue.take():
        played.answer(batch)
    for waiting in played.accepted:
        cancelled = waiting.future.cancelled()
        answered = not cancelled and waiting.future.exception(0) is None
        assert played.taken.count(waiting) == answered
        assert played.ended[id(waiting)] == (not cancelled)
