"""The queue in front of the network: order, bounds, cancellation, the same bits in any company."""

import threading
import time
from concurrent.futures import CancelledError

import anyio
import numpy as np
import pytest
from server_support import engine

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.profiles import load_profiles
from specformer_encoder.reading import Reading
from specformer_mcp.batching import BatchQueue
from specformer_mcp.engine import Engine, samples_of
from specformer_mcp.paths import examples_dir
from specformer_mcp.readers import BusyError, OverdueError, result_of

WAIT_S = 60


class Gate:
    """Reads profiles of one number each, when it is let; remembers what it read together."""

    def __init__(self):
        self.open = threading.Event()
        self.began = threading.Semaphore(0)
        self.batches = []

    def read(self, values):
        self.batches.append(values[:, 0].tolist())
        self.began.release()
        assert self.open.wait(WAIT_S)
        column = values[:, 0]
        return Reading(values, column, column, column)


def profile(number, size=1):
    return np.full((size, 1), number, np.float32)


@pytest.fixture
def gate():
    return Gate()


def begun(gate, **options):
    """Make a queue whose first profile, 0, is being read and holds it up."""
    queue = BatchQueue(gate.read, **options)
    first = queue.submit(profile(0))
    assert gate.began.acquire(timeout=WAIT_S)
    return queue, first


def test_what_waits_is_read_together_in_order(gate):
    queue, first = begun(gate, batch=3)
    futures = [queue.submit(profile(number)) for number in range(1, 6)]
    assert queue.waiting == 5
    gate.open.set()
    values = [future.result(WAIT_S).misfit.tolist() for future in [first, *futures]]
    assert values == [[0], [1], [2], [3], [4], [5]]
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    queue.close()
    assert queue.done == 6


def test_groups_stay_whole_and_a_large_one_is_let_in_alone(gate):
    queue, first = begun(gate, batch=3, capacity=4)
    futures = [queue.submit(profile(1, 2)), queue.submit(profile(2, 2))]
    with pytest.raises(BusyError):
        queue.submit(profile(3))
    gate.open.set()
    assert [len(future.result(WAIT_S)) for future in [first, *futures]] == [1, 2, 2]
    assert gate.batches == [[0], [1, 1], [2, 2]]
    assert len(queue.submit(profile(4, 9)).result(WAIT_S)) == 9
    queue.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(gate):
    queue, first = begun(gate, capacity=2)
    waiting = [queue.submit(profile(1)), queue.submit(profile(2))]
    began = time.monotonic()
    with pytest.raises(BusyError, match=r"2 profiles wait.* Try again in 1 s\.") as refused:
        queue.submit(profile(3))
    assert time.monotonic() - began < 1
    assert refused.value.retry_after_s == 1
    gate.open.set()
    for future in [first, *waiting]:
        future.result(WAIT_S)
    queue.submit(profile(3)).result(WAIT_S)  # there is room again
    queue.close()


def test_what_was_cancelled_or_is_overdue_is_not_read(gate):
    queue, first = begun(gate, capacity=3)
    cancelled = queue.submit(profile(1))
    late = queue.submit(profile(2), timeout_s=0.05)
    kept = queue.submit(profile(3))
    assert cancelled.cancel()
    assert queue.waiting == 2  # and there is room for another
    time.sleep(0.1)
    gate.open.set()
    kept.result(WAIT_S)
    with pytest.raises(OverdueError, match="not read within"):
        late.result(WAIT_S)
    with pytest.raises(CancelledError):
        cancelled.result(WAIT_S)
    first.result(WAIT_S)
    assert gate.batches == [[0], [3]]
    queue.close()


def test_a_closed_queue_refuses_what_waits_and_what_comes(gate):
    queue, first = begun(gate)
    waiting = queue.submit(profile(1))
    threading.Timer(0.2, gate.open.set).start()
    queue.close()
    assert first.done()
    with pytest.raises(BusyError, match="stopping"):
        waiting.result(0)
    with pytest.raises(BusyError, match="stopping"):
        queue.submit(profile(2))
    assert not queue.available


def test_a_tool_that_was_cancelled_gives_its_profile_up(gate):
    queue, first = begun(gate)
    waiting = queue.submit(profile(1))

    async def call():
        with anyio.move_on_after(0.2) as scope:
            await anyio.to_thread.run_sync(result_of, waiting)
        return scope.cancelled_caught

    began = time.monotonic()
    assert anyio.run(call)
    assert time.monotonic() - began < 5
    assert waiting.cancelled()
    gate.open.set()
    first.result(WAIT_S)
    queue.close()
    assert gate.batches == [[0]]


def real_profiles():
    names = ("luad_tumor.tsv.gz", "luad_normal.tsv.gz")
    rows = np.concatenate([load_profiles(examples_dir() / name).values for name in names])
    noise = np.random.default_rng(0).lognormal(0, 0.5, (4, rows.shape[1])).astype(np.float32)
    return np.concatenate([rows, rows[:1] * noise])


def test_a_profile_has_the_same_bits_alone_and_in_any_batch():
    embedder = engine().loaded().embedder
    values = real_profiles()
    alone = [embedder.embed(row[None])[0] for row in values]
    queue = BatchQueue(embedder.read, batch=4, linger_s=0.05)
    futures = [queue.submit(row[None]) for row in values]
    together = [embedder.embeddings(future.result(WAIT_S))[0] for future in futures]
    queue.close()
    assert [row.tobytes() for row in together] == [row.tobytes() for row in alone]


def test_a_profile_that_cannot_be_read_fails_alone():
    embedder = engine().loaded().embedder
    good = real_profiles()[:2]
    nothing = np.zeros_like(good[:1])
    queue = BatchQueue(embedder.read, linger_s=0.1)
    futures = [queue.submit(values) for values in (good[:1], nothing, good[1:])]
    with pytest.raises(ExpressionValueError, match="at least one expressed gene"):
        futures[1].result(WAIT_S)
    got = np.concatenate([futures[i].result(WAIT_S).raw for i in (0, 2)])
    assert got.tobytes() == embedder.read(good).raw.tobytes()
    queue.close()


def test_samples_that_find_no_room_later_on_are_left_for_later():
    class Full(BatchQueue):
        """Refuses everything after the first submission, as other callers' profiles would."""

        def submit(self, values, *, timeout_s=WAIT_S):
            if self.done:
                raise BusyError("full", retry_after_s=1)
            return super().submit(values, timeout_s=timeout_s)

    embedder = engine().loaded().embedder
    own = Engine(batch=1, connect=lambda _: Full(embedder.read))
    profiles = load_profiles(examples_dir() / "coadread_tumors.csv.gz")
    samples = samples_of(profiles)[:2]
    own.embed(samples)
    assert [sample.embedding is None for sample in samples] == [False, True]
    with pytest.raises(BusyError):
        own.embed(samples)
    own.close()
    assert own.state == "loading"
