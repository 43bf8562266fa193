"""The handle store: capacity, expiry, threads."""

import contextlib
import threading

import numpy as np
import pytest

from specformer_encoder.errors import SpecformerError
from specformer_mcp.samples import Sample, SampleStore, handle_of


def sample(number, embedding=None):
    return Sample(
        handle=handle_of(f"{number:064x}"[::-1]),
        name=f"s{number}",
        source="file",
        values=np.zeros(3, np.float32),
        unit=None,
        genes=None,
        genes_measured=3,
        embedding=embedding,
    )


def test_handles_are_sixteen_hexadecimal_digits():
    assert handle_of("0123456789abcdef" * 4) == "smp_0123456789abcdef"


def test_the_least_recently_used_sample_goes_first():
    store = SampleStore(capacity=2)
    first, second, third = (sample(i) for i in (1, 2, 3))
    store.put(first)
    store.put(second)
    assert store.get(first.handle) is first  # now the second is the older one
    store.put(third)
    assert len(store) == 2
    assert store.get(first.handle) is first
    with pytest.raises(SpecformerError, match="Call embed_sample"):
        store.get(second.handle)


def test_unused_samples_expire_and_used_ones_do_not():
    now = 0.0
    store = SampleStore(lifetime_s=100, clock=lambda: now)
    used, unused = sample(1), sample(2)
    store.put(used)
    store.put(unused)
    now = 60.0
    store.get(used.handle)
    now = 110.0
    assert store.get(used.handle) is used
    with pytest.raises(SpecformerError, match="unknown or has expired"):
        store.get(unused.handle)
    assert len(store) == 1


@pytest.mark.parametrize("handle", ["", "smp_", "smp_zz", "x" * 5000, "smp_0123456789abcdef\n"])
def test_unknown_handles(handle):
    with pytest.raises(SpecformerError, match="Call embed_sample") as caught:
        SampleStore().get(handle)
    assert len(str(caught.value)) < 200


def test_the_same_content_keeps_its_embedding():
    store = SampleStore()
    store.put(sample(1, embedding=np.ones(2, np.float32)))
    store.put(again := sample(1))
    np.testing.assert_array_equal(store.get(again.handle).embedding, [1, 1])


def test_many_threads():
    store = SampleStore(capacity=50)
    problems = []

    def work(offset):
        try:
            for i in range(300):
                one = sample(offset * 1000 + i)
                store.put(one)
                with contextlib.suppress(SpecformerError):  # another thread may have pushed it out
                    store.get(one.handle)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(store) == 50
