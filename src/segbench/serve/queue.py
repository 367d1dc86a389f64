"""What waits: bounded by number and bytes, fair between clients, handed out in batches of one kind."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition
from typing import Generic, TypeVar

from segbench.serve.refusal import Refusal
from segbench.serve.request import Answer
from segbench.serve.settings import MIB, Settings

Kind = TypeVar("Kind", bound="Waiting")
UNKNOWN_S = 1.0  # what an inference is taken to last until one was measured
WEIGHT = 0.2  # of the latest inference in the mean of all


class Pending(Future[Answer]):
    """An answer to come; once it is being computed it cannot be cancelled, but remembers that nobody waits for it."""

    left = False

    def cancel(self) -> bool:
        """See `Future.cancel`."""
        self.left = True
        return super().cancel()

    def when_done(self, call: Callable[[Kind, Future[Answer]], None], waiting: Kind) -> None:
        """Calls it with a request and this, and lets go of both: else each would hold the other, and their images."""
        held = [waiting]
        self.add_done_callback(lambda future: call(held.pop(), future))


@dataclass(eq=False)
class Waiting:
    """A request that was accepted.

    Attributes:
        client: Who asks.
        key: Requests of one key may share a batch.
        images: How many.
        size: Of them, in bytes.
        deadline: On the queue's clock; after it nobody waits for the answer.
        ended: Told what became of it, before its future is.
        future: Of its answer.
        since: On the queue's clock, when it came.
    """

    client: str
    key: Hashable
    images: int
    size: int
    deadline: float
    ended: Callable[["Waiting", Refusal | None], None] = lambda waiting, refusal: None
    future: Pending = field(default_factory=Pending)
    since: float = 0.0

    def answer(self, answer: Answer) -> None:
        """It is answered."""
        self.ended(self, None)
        self.future.set_result(answer)

    def refuse(self, refusal: Refusal) -> None:
        """It is not."""
        self.ended(self, refusal)
        self.future.set_exception(refusal)


class Queue(Generic[Kind]):
    """Of requests; every method may be called by any thread.

    Clients take turns. A batch begins with the first request of the client whose turn it is, then takes the first
    request of the same key of every other client, in turn; and so on round after round, as long as no client was
    passed over. So nobody is served twice while somebody waits, whatever is asked for.

    Args:
        settings: Its limits.
        clock: Seconds that only go up.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._clients: OrderedDict[str, deque[Kind]] = OrderedDict()
        self._changed = Condition()
        self._size = self._count = 0
        self._closed = False
        self._seconds = UNKNOWN_S
        self._measured = False

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of the images that wait."""
        return self._size

    def put(self, waiting: Kind) -> None:
        """Takes a request in; cancelling its future takes it out.

        Raises:
            Refusal: "busy" if there is no place or the queue is closed; "too large" if there never is.
        """
        most, most_bytes = self._settings.max_queue, self._settings.max_queue_mib * MIB
        if waiting.size > most_bytes:
            raise Refusal("too large", f"{waiting.size} bytes of images; at most {most_bytes} may wait: send fewer")
        with self._changed:
            if self._closed:
                raise Refusal("busy", "the server is stopping; ask another one", self._seconds)
            if self._count >= most or self._size + waiting.size > most_bytes:
                raise Refusal("busy", f"{self._count} requests are waiting; try again later", self._place(waiting.size))
            waiting.since = self._clock()
            self._clients.setdefault(waiting.client, deque()).append(waiting)
            self._count, self._size = self._count + 1, self._size + waiting.size
            self._changed.notify_all()
        waiting.future.when_done(self._forget, waiting)

    def take(self) -> list[Kind]:
        """Waits for a batch and hands it out; empty once the queue is closed and nothing waits.

        What was cancelled or is overdue does not come; the futures of what comes are running.
        """
        most, delay = self._settings.max_batch, self._settings.max_delay_ms / 1000
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._count or self._closed)
                if not self._count:
                    return []
                first = next(iter(self._clients.values()))[0]
                key, left = first.key, first.since + delay - self._clock()
                del first
                if left > 0 and not self._closed and self._images(key, most) < most:
                    self._changed.wait(left)  # something came or went, or it is time: look again
                    continue
                batch = self._collect(key, most)
            # outside the lock: callbacks of futures run here
            running = [waiting for waiting in batch if self._begins(waiting)]
            if running:
                return running
            del batch, key  # images and a model, while it waits for others

    def expire(self) -> int:
        """Refuses what is overdue; how many."""
        now = self._clock()
        with self._changed:
            late = [waiting for each in self._clients.values() for waiting in each if waiting.deadline < now]
            for waiting in late:
                self._remove(waiting)
        return sum(not self._begins(waiting) for waiting in late)

    def served(self, requests: int, seconds: float) -> None:
        """Learns how long requests take, on average."""
        mean = seconds / requests
        with self._changed:
            self._seconds = mean if not self._measured else self._seconds + WEIGHT * (mean - self._seconds)
            self._measured = True

    def close(self) -> None:
        """Takes no more requests; those that wait are handed out at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[Kind]:
        """Takes everything out that waits."""
        with self._changed:
            left = [waiting for each in self._clients.values() for waiting in each]
            for waiting in left:
                self._remove(waiting)
        return left

    def _begins(self, waiting: Kind) -> bool:
        """Whether it is still wanted; refuses it where it is overdue."""
        if not waiting.future.set_running_or_notify_cancel():
            return False
        if waiting.deadline < self._clock():
            waiting.refuse(Refusal("late", "the time was up while the request was waiting"))
            return False
        return True

    def _collect(self, key: Hashable, most: int) -> list[Kind]:
        """Takes a batch out; those who have a part in it come last in the next turn."""
        batch: list[Kind] = []
        images, whole = 0, True
        while whole:
            part: list[Kind] = []
            for each in self._clients.values():
                one = next((waiting for waiting in each if waiting.key == key), None)
                if one is None or ((batch or part) and images + one.images > most):
                    whole = False
                    continue
                part.append(one)
                images += one.images
            for one in part:
                self._remove(one)
                if one.client in self._clients:
                    self._clients.move_to_end(one.client)
            batch += part
            whole = whole and bool(part)
        return batch

    def _images(self, key: Hashable, most: int) -> int:
        """Images of a key that wait, as far as `most`."""
        total = 0
        for waiting in self._of(key):
            total += waiting.images
            if total >= most:
                break
        return total

    def _of(self, key: Hashable) -> Iterator[Kind]:
        return (waiting for each in self._clients.values() for waiting in each if waiting.key == key)

    def _remove(self, waiting: Kind) -> None:
        each = self._clients[waiting.client]
        each.remove(waiting)
        if not each:
            del self._clients[waiting.client]
        self._count, self._size = self._count - 1, self._size - waiting.size

    def _forget(self, waiting: Kind, future: Future[Answer]) -> None:
        if not future.cancelled():
            return
        with self._changed:
            if waiting in self._clients.get(waiting.client, ()):
                self._remove(waiting)
                self._changed.notify_all()

    def _place(self, size: int) -> float:
        """Seconds after which there is a place for so many bytes: as many requests are served first as make it."""
        requests = max(1, self._count - self._settings.max_queue + 1)
        excess = self._size + size - self._settings.max_queue_mib * MIB
        if excess > 0:
            requests = max(requests, math.ceil(excess * self._count / self._size))
        return requests * self._seconds
