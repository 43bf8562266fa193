"""The handle store: capacity, owners, expiry, threads; in memory and on the disk alike."""

import contextlib
import dataclasses
import threading

import numpy as np
import pytest
from sample_support import sample

from specformer_encoder.errors import SpecformerError
from specformer_mcp.samples import SampleStore, UnknownSampleError, handle_of


@pytest.fixture(params=["memory", "disk"])
def make_store(request, tmp_path):
    """Return what makes a store; on the disk, one call after the other is a restart."""
    directory = None if request.param == "memory" else tmp_path / "store"

    def make(**options):
        return SampleStore(directory=directory, **options)

    return make


def test_handles_are_sixteen_hexadecimal_digits():
    assert handle_of("0123456789abcdef" * 4) == "smp_0123456789abcdef"


def test_the_least_recently_used_sample_goes_first(make_store):
    store = make_store(capacity=2)
    first, second, third = (sample(i) for i in (1, 2, 3))
    store.put(first)
    store.put(second)
    assert store.get(first.handle) is first  # now the second is the older one
    store.put(third)
    assert len(store) == 2
    assert store.get(first.handle) is first
    with pytest.raises(SpecformerError, match="Call embed_sample"):
        store.get(second.handle)


def test_unused_samples_expire_and_used_ones_do_not(make_store):
    now = 0.0
    store = make_store(lifetime_s=100, clock=lambda: now)
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
def test_unknown_handles(handle, make_store):
    with pytest.raises(UnknownSampleError, match="Call embed_sample") as caught:
        make_store().get(handle)
    assert len(str(caught.value)) < 200


def test_a_handle_is_of_its_owner_alone(make_store):
    store = make_store()
    store.put(sample(1), owner="ann")
    store.put(sample(2), owner="bob")
    with pytest.raises(UnknownSampleError) as of_another:
        store.get(sample(1).handle, owner="bob")
    with pytest.raises(UnknownSampleError) as of_nobody:
        store.get(sample(3).handle, owner="bob")
    # Nothing tells the two apart but the handle that was asked for.
    assert str(of_another.value).replace(sample(1).handle, "") == str(of_nobody.value).replace(
        sample(3).handle, ""
    )
    assert [s.name for s in store.summaries(owner="bob")] == ["s2"]
    assert store.forget(sample(1).handle, owner="bob") == 0
    assert store.forget(None, owner="bob") == 1
    assert store.get(sample(1).handle, owner="ann").name == "s1"


@pytest.mark.parametrize("owner", ["o'; DROP TABLE samples; --", '"', "ann\0", "Ünï", "a" * 2000])
def test_any_text_may_be_an_owner(make_store, owner):
    store = make_store()
    store.put(sample(1), owner=owner)
    store.put(sample(2))
    assert store.forget(None, owner=owner) == 1
    assert len(store) == 1


def test_one_owner_cannot_push_out_the_others(make_store):
    store = make_store(max_bytes=10 * sample(1).size)
    store.put(sample(0), owner="ann")
    for i in range(1, 40):
        store.put(sample(i), owner="bob")
    assert store.get(sample(0).handle, owner="ann").name == "s0"
    assert len(store.summaries(owner="bob")) == 9
    assert store.size <= 10 * sample(1).size


def test_the_same_content_keeps_its_embedding_also_for_another_owner(make_store):
    store = make_store()
    store.put(sample(1, embedded=True), owner="ann")
    store.put(again := sample(1), owner="ann")
    store.put(others := sample(1), owner="bob")
    for one in (again, others):
        np.testing.assert_array_equal(one.embedding, sample(1, embedded=True).embedding)
        assert one.release == "a release"


def test_two_contents_with_one_handle_do_not_share_an_embedding(make_store):
    store = make_store()
    store.put(sample(1, embedded=True), owner="ann")
    forged = dataclasses.replace(sample(2), handle=sample(1).handle)
    store.put(forged, owner="bob")
    assert forged.embedding is None
    np.testing.assert_array_equal(store.get(forged.handle, owner="bob").values, sample(2).values)
    np.testing.assert_array_equal(store.get(forged.handle, owner="ann").values, sample(1).values)


def test_forget_and_summaries(make_store):
    now = 0.0
    store = make_store(clock=lambda: now)
    for i in range(4):
        now += 1
        store.put(sample(i))
    now += 1
    store.get(sample(0).handle)
    assert [s.name for s in store.summaries()] == ["s0", "s3", "s2", "s1"]
    summary = store.summaries()[0]
    assert (summary.source, summary.genes_measured, summary.used) == ("file", 3, 5.0)
    assert store.forget(sample(3).handle) == 1
    assert store.forget(sample(3).handle) == 0
    assert store.forget("nonsense") == 0
    assert store.forget(None) == 3
    assert store.summaries() == []
    with pytest.raises(UnknownSampleError):
        store.get(sample(0).handle)


def test_many_threads(make_store):
    store = make_store(capacity=50)
    rounds = 300 if store.directory is None else 15
    problems = []

    def work(offset):
        try:
            for i in range(rounds):
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
    assert len(store.summaries()) == 50
