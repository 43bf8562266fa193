"""A small synthetic index, and what other processes do to it in the tests of its durability.

The functions at the end run in processes of their own, which a fork server gives: it has loaded
LanceDB once, so that a process costs no start.
"""

import multiprocessing
import resource
import threading
import time

import numpy as np

from specformer_index.changes import add_cohorts
from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.errors import ReferenceIndexError
from specformer_index.maintenance import optimize
from specformer_index.opening import read_info
from specformer_index.schema import PROFILE
from specformer_index.search import ReferenceIndex
from specformer_index.write import new_directory, write_tables

DIMENSIONS = 16
SHA256 = "a" * 64
MINE = "user:mine"
EACH = 12
"""Profiles of every cohort that is added."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["lancedb", "lancedb.expr", "pyarrow.parquet", "specformer_index.maintenance"]
)


def rows_of(cohort, n, source="reference"):
    """Return n rows of one cohort, two of each patient."""
    return [
        {
            "id": f"{source}:{cohort}:{i}#tpm",
            "kind": PROFILE,
            "cohort": cohort,
            "cohort_name": cohort.title(),
            "study": cohort,
            "tissue": "Lung",
            "sample_type": "tumor",
            "patient": f"{cohort}-{i // 2}",
            "source": source,
            "unit": "tpm",
            "split": "",
            "subtype": "A" if i % 2 else "",
            "genes_measured": 18_000,
        }
        for i in range(n)
    ]


def unit(rng, n):
    vectors = rng.normal(size=(n, DIMENSIONS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def moments(rng, rows):
    summed = CohortPathwayMoments(["A", "B"], ["hallmark", "hallmark"])
    for row in rows:
        summed.add(row["cohort"], rng.normal(size=2).astype(np.float32))
    return summed


def build(out, *, n=60, replace=False, seed=0):
    """Write an index of two cohorts of n profiles each."""
    rng = np.random.default_rng(seed)
    rows = rows_of("one", n) + rows_of("two", n)
    with new_directory(out, replace=replace) as partial:
        write_tables(
            partial,
            rows=rows,
            vectors=unit(rng, len(rows)),
            pathways=moments(rng, rows),
            release_id="test",
            release_sha256=SHA256,
        )
    return read_info(out)


def add(root, cohort, *, n=EACH, source=MINE, replace=False, seed=1):
    rng = np.random.default_rng(seed)
    rows = rows_of(cohort, n, source)
    return add_cohorts(
        root,
        rows=rows,
        vectors=unit(rng, n),
        pathways=moments(rng, rows),
        source=source,
        replace=replace,
    )


def open_index(root, **more):
    return ReferenceIndex.open(root, release_sha256=SHA256, **more)


def keep_adding(root, pipe, start):
    """Add one cohort after the other and say so after each."""
    pipe.send("ready")
    for number in range(start, 10_000):
        add(root, f"cohort{number}", n=EACH)
        pipe.send(number)


def keep_building(root, pipe):
    """Replace the index again and again, by one of 40 and one of 60 profiles a cohort."""
    pipe.send("ready")
    for number in range(10_000):
        build(root, n=(40, 60)[number % 2], replace=True)
        pipe.send(number)


def keep_optimizing(root, pipe):
    """Change one cohort and tidy up, again and again."""
    pipe.send("ready")
    for number in range(10_000):
        add(root, "changing", replace=True, seed=number)
        optimize(root, keep=2)
        pipe.send(number)


def add_patiently(root, pipe, cohorts):
    """Add cohorts, replacing what is there; wait while another process writes."""
    turned_away = 0
    for cohort in cohorts:
        while True:
            try:
                add(root, cohort, replace=True)
                break
            except ReferenceIndexError as error:
                if "Another process" not in error.problem:
                    raise
                turned_away += 1
                time.sleep(0.1)
    pipe.send(turned_away)


def write_with_little_room(root, pipe, room, what):
    """Try to write when no file may grow past `room` bytes; send the error's text."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        if what == "build":
            build(root, n=400)
        else:
            add(root, "large", n=400)
        pipe.send("no error")
    except ReferenceIndexError as error:
        pipe.send(str(error))


def keep_reading(root, pipe, stop, threads):
    """Open the index in several threads until told to stop; send what was wrong, and the opens."""
    wrong, opens, versions = [], [], set()

    def read():
        while not stop.is_set() or not opens:
            try:
                index = open_index(root)
            except ReferenceIndexError as error:
                wrong.append(str(error))
                return
            found = {row.id: row.n_profiles for row in index.cohort_rows()}
            near = index.nearest_profiles(np.eye(DIMENSIONS)[0], k=1000)
            seen = {name: sum(n.cohort == name for n in near) for name in found}
            if found != seen or len(near) != index.info.counts["profiles"]:
                wrong.append(f"{index.info.version}: {found} {seen}")
            if any(n != EACH for name, n in found.items() if name not in ("one", "two")):
                wrong.append(f"a part of a cohort: {found}")
            versions.add(index.info.version)
            opens.append(1)
            time.sleep(0.1)

    running = [threading.Thread(target=read) for _ in range(threads)]
    for thread in running:
        thread.start()
    while not opens and not wrong:
        time.sleep(0.01)
    pipe.send("ready")
    for thread in running:
        thread.join()
    pipe.send((wrong, len(opens), versions))
