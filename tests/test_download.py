"""One file over a real socket: every way it can go wrong, and that it ends right."""

import base64
import errno
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from http_server import Archive, Fault, Proxy

from specformer_encoder.download import part, web
from specformer_encoder.download.file import fetch
from specformer_encoder.download.web import Policy
from specformer_encoder.errors import DownloadError

QUICK = Policy(attempts=4, first_wait_s=0.01, read_s=5)
PLAIN = np.random.default_rng(1).bytes(300_000)
PACKED = gzip.compress(np.random.default_rng(2).bytes(200_000)) + gzip.compress(b"second member")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def archive():
    with Archive() as server:
        yield server


class Notes:
    def __init__(self):
        self.notes, self.shown = [], []

    def note(self, text):
        self.notes.append(text)

    def update(self, name, done, total):
        self.shown.append((name, done, total))


def md5_of(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_leaves_nothing_beside_it(archive, tmp_path):
    url = archive.put("/a/data.gz", PACKED)
    progress = Notes()
    fetched = fetch(url, tmp_path / "deep" / "data.gz", policy=QUICK, progress=progress)
    assert fetched.path.read_bytes() == PACKED
    assert listing(tmp_path / "deep") == ["data.gz"]
    assert (fetched.size, fetched.transferred) == (len(PACKED), len(PACKED))
    assert fetched.sha256 == hashlib.sha256(PACKED).hexdigest()
    assert fetched.md5 == md5_of(PACKED)
    assert archive.log[0].headers["accept-encoding"] == "identity"
    assert progress.notes == []
    assert progress.shown[-1] == ("data.gz", len(PACKED), len(PACKED))


@pytest.mark.parametrize("content", [b"", b"x"])
def test_tiny_files(archive, tmp_path, content):
    fetch(archive.put("/a", content), tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == content
    assert listing(tmp_path) == ["a"]


def test_a_dropped_connection_is_resumed_where_it_broke(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(drop_after=100_000), Fault(drop_after=50_000))
    fetched = fetch(url, tmp_path / "a", policy=QUICK)
    assert fetched.path.read_bytes() == PLAIN
    assert fetched.transferred == len(PLAIN)  # no byte came twice
    starts = [one.start for one in archive.log]
    assert starts[0] == 0
    assert 0 < starts[1] <= 100_000
    assert starts[1] < starts[2] <= 150_000
    assert all("if-range" in one.headers for one in archive.log[1:])


def test_drops_with_progress_never_exhaust_the_patience(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", *[Fault(drop_after=20_000)] * 10)
    fetch(url, tmp_path / "a", policy=Policy(attempts=2, first_wait_s=0.001))
    assert (tmp_path / "a").read_bytes() == PLAIN


def test_a_later_run_goes_on_where_an_earlier_one_ended(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(drop_after=100_000), Fault(status=503))
    once = Policy(attempts=2, first_wait_s=0.01)
    with pytest.raises(DownloadError, match=r"503.*goes on"):
        fetch(url, tmp_path / "a", policy=once)
    assert listing(tmp_path) == ["a.part", "a.part.json"]
    got = (tmp_path / "a.part").stat().st_size
    assert 0 < got <= 100_000
    fetched = fetch(url, tmp_path / "a", policy=once)
    assert fetched.path.read_bytes() == PLAIN
    assert fetched.sha256 == hashlib.sha256(PLAIN).hexdigest()
    assert archive.log[-1].start == got
    assert listing(tmp_path) == ["a"]


def test_a_file_that_changed_meanwhile_is_not_mixed(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(drop_after=100_000), Fault(status=503))
    with pytest.raises(DownloadError):
        fetch(url, tmp_path / "a", policy=Policy(attempts=2, first_wait_s=0.01))
    changed = PLAIN[::-1]
    archive.put("/a", changed)
    progress = Notes()
    fetch(url, tmp_path / "a", policy=QUICK, progress=progress)
    assert (tmp_path / "a").read_bytes() == changed
    assert "has changed" in progress.notes[0]


def test_a_206_of_another_version_is_not_mixed(archive, tmp_path):
    # A server that ignores If-Range: the ETag of the 206 tells.
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(drop_after=100_000), Fault(headers={"ETag": '"other"'}))
    fetched = fetch(url, tmp_path / "a", policy=QUICK)
    assert fetched.path.read_bytes() == PLAIN
    assert [one.start > 0 for one in archive.log] == [False, True, False]


def test_a_server_without_ranges_starts_again_and_says_so(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(drop_after=100_000), Fault(ignore_range=True))
    progress = Notes()
    fetch(url, tmp_path / "a", policy=QUICK, progress=progress)
    assert (tmp_path / "a").read_bytes() == PLAIN
    assert "the server cannot resume" in progress.notes[-1]


def test_a_server_that_always_breaks_is_given_up(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", *[Fault(drop_after=100_000, ignore_range=True)] * 99)
    with pytest.raises(DownloadError, match="4 times in a row"):
        fetch(url, tmp_path / "a", policy=QUICK)
    assert len(archive.log) < 8
    assert not (tmp_path / "a").exists()


def test_without_a_validator_nothing_is_appended_unless_a_checksum_guards_it(archive, tmp_path):
    bare = {"ETag": None}
    for name, content in {"a": PLAIN, "b.gz": PACKED}.items():
        url = archive.put(f"/{name}", content)
        archive.fail(f"/{name}", Fault(drop_after=100_000, headers=bare), Fault(headers=bare))
        fetch(url, tmp_path / name, policy=QUICK)
        assert (tmp_path / name).read_bytes() == content
    assert archive.gets("/a")[1].start == 0
    assert archive.gets("/b.gz")[1].start > 0


def test_a_wrong_content_range_is_refused(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    span = f"bytes 7-{len(PLAIN) - 1}/{len(PLAIN)}"
    archive.fail("/a", Fault(drop_after=100_000), Fault(headers={"Content-Range": span}))
    progress = Notes()
    fetch(url, tmp_path / "a", policy=QUICK, progress=progress)
    assert (tmp_path / "a").read_bytes() == PLAIN
    assert "another range" in progress.notes[-1]


@pytest.mark.parametrize("known", [True, False], ids=["length known", "length unknown"])
def test_a_part_that_was_complete_needs_no_more_bytes(archive, tmp_path, known):
    # Killed between the last byte and the rename.
    url = archive.put("/a.gz", PACKED)
    (tmp_path / "a.gz.part").write_bytes(PACKED)
    (tmp_path / "a.gz.part.json.new").write_bytes(b"{")  # killed while it was written
    write_note(tmp_path / "a.gz.part.json", url, size=len(PACKED) if known else None)
    fetched = fetch(url, tmp_path / "a.gz", policy=QUICK)
    assert fetched.path.read_bytes() == PACKED
    assert fetched.transferred == 0
    assert listing(tmp_path) == ["a.gz"]
    assert len(archive.log) == (0 if known else 1)  # 416: nothing behind it


def test_a_part_longer_than_the_file_is_dropped(archive, tmp_path):
    url = archive.put("/a.gz", PACKED)
    (tmp_path / "a.gz.part").write_bytes(PACKED + b"\0" * 100)
    write_note(tmp_path / "a.gz.part.json", url, size=None)
    fetch(url, tmp_path / "a.gz", policy=QUICK)
    assert (tmp_path / "a.gz").read_bytes() == PACKED


def write_note(path, url, *, size, boot=None, synced=0, etag=None):
    version = {"url": url, "final_url": url, "size": size, "etag": etag}
    boot = part._boot() if boot is None else boot
    path.write_text(json.dumps({"version": version, "synced": synced, "boot": boot, "process": 1}))


def test_after_a_power_cut_only_synced_bytes_are_believed(archive, tmp_path):
    # The length had reached the disk, the last blocks had not.
    url = archive.put("/a", PLAIN)
    etag = f'"{hashlib.sha1(PLAIN, usedforsecurity=False).hexdigest()}"'
    (tmp_path / "a.part").write_bytes(PLAIN[:65_536] + bytes(100_000))
    write_note(
        tmp_path / "a.part.json", url, size=len(PLAIN), boot="an earlier one", synced=65_536,
        etag=etag,
    )  # fmt: skip
    fetched = fetch(url, tmp_path / "a", policy=QUICK)
    assert fetched.path.read_bytes() == PLAIN
    assert [one.start for one in archive.log] == [65_536]


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"version": {"url": 1, "colour": 2}}', None])
def test_a_part_without_a_readable_note_is_not_used(archive, tmp_path, note):
    url = archive.put("/a", PLAIN)
    (tmp_path / "a.part").write_bytes(b"something else")
    if note is not None:
        (tmp_path / "a.part.json").write_bytes(note)
    fetch(url, tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == PLAIN
    assert listing(tmp_path) == ["a"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(archive, tmp_path, status):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(status=status), Fault(status=status))
    fetch(url, tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == PLAIN
    assert len(archive.log) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_what_is_final_is_not_tried_again(archive, tmp_path, status):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(status=status))
    with pytest.raises(DownloadError, match=str(status)) as caught:
        fetch(url + "?token=secret", tmp_path / "a", policy=QUICK)
    assert "secret" not in str(caught.value)
    assert len(archive.log) == 1
    assert listing(tmp_path) == []


def test_retry_after_is_honoured(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(status=503, headers={"Retry-After": "1"}))
    began = time.monotonic()
    fetch(url, tmp_path / "a", policy=QUICK)
    assert 1 <= time.monotonic() - began < 3
    archive.fail("/a", Fault(status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(DownloadError, match="86400 s"):
        fetch(url, tmp_path / "b", policy=QUICK)


def test_retry_after_may_be_a_date():
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    assert 50 < web._seconds(date) <= 60
    assert web._seconds("soon") is None


def test_waits_grow_with_jitter():
    waits = []
    attempts = web.Attempts(
        "a", Policy(attempts=9, first_wait_s=0.001, longest_wait_s=0.004), waits.append
    )
    for _ in range(8):
        attempts.failed(web.TransientError("it broke"))
    assert len(waits) == 8
    with pytest.raises(DownloadError, match="9 times"):
        attempts.failed(web.TransientError("it broke"))


def test_a_wrong_hash_leaves_nothing(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    wrong = "0" * 32
    with pytest.raises(DownloadError, match=rf"MD5 .*published is {wrong}, twice"):
        fetch(url, tmp_path / "a", md5=wrong, policy=QUICK)
    assert listing(tmp_path) == []
    assert len(archive.log) == 2


def test_damage_that_passes_is_mended(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(body=PLAIN[:-1] + b"?"))
    fetch(url, tmp_path / "a", md5=md5_of(PLAIN), policy=QUICK)
    assert (tmp_path / "a").read_bytes() == PLAIN


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-hash": "crc32c=AAAAAA==, md5=" + base64.b64encode(b"?" * 16).decode()},
        {"Server": "AmazonS3", "ETag": f'"{"0" * 32}"'},
    ],
    ids=["Google", "Amazon"],
)
def test_a_checksum_that_the_storage_states_is_checked(archive, tmp_path, headers):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", *[Fault(headers=headers | {"Server": headers.get("Server")})] * 2)
    if "Server" in headers:  # http.server sends its own Server header first
        assert web.published_md5(web.httpx.Headers(headers)) == "0" * 32
        return
    with pytest.raises(DownloadError, match="MD5"):
        fetch(url, tmp_path / "a", policy=QUICK)


def test_checksums_that_are_none_are_not_used():
    def md5(**headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.published_md5(web.httpx.Headers({"Server": "AmazonS3"} | names))

    assert md5(ETag=f'"{"a" * 32}"') == "a" * 32
    assert md5(ETag=f'"{"a" * 32}-17"') is None  # uploaded in parts
    assert md5(ETag=f'"{"a" * 32}"', x_amz_server_side_encryption="aws:kms") is None
    assert md5(ETag=f'"{"a" * 32}"', Server="nginx") is None


@pytest.mark.parametrize(
    "content",
    [
        PACKED[: len(PACKED) - 40],
        PACKED[:5000] + b"?" + PACKED[5001:],
        PACKED + b"rubbish",
        b"no gzip at all",
        b"",
    ],
    ids=["truncated", "damaged", "rubbish behind", "plain", "empty"],
)
def test_gzip_integrity(archive, tmp_path, content):
    url = archive.put("/a.gz", content)
    with pytest.raises(DownloadError, match="gzip"):
        fetch(url, tmp_path / "a.gz", policy=QUICK)
    assert listing(tmp_path) == []


def test_gzip_may_be_padded_with_zeros(archive, tmp_path):
    fetch(archive.put("/a.gz", PACKED + bytes(512)), tmp_path / "a.gz", policy=QUICK)
    assert (tmp_path / "a.gz").read_bytes() == PACKED + bytes(512)


def test_a_gz_that_is_called_encoded_is_stored_as_it_is(archive, tmp_path):
    url = archive.put("/a.gz", PACKED, **{"Content-Encoding": "gzip"})
    fetch(url, tmp_path / "a.gz", policy=QUICK)
    assert (tmp_path / "a.gz").read_bytes() == PACKED


def test_a_plain_file_that_comes_encoded_is_decoded(archive, tmp_path):
    url = archive.put("/a.tsv", gzip.compress(PLAIN), **{"Content-Encoding": "gzip"})
    archive.fail("/a.tsv", Fault(drop_after=100_000))
    fetch(url, tmp_path / "a.tsv", policy=QUICK)
    assert (tmp_path / "a.tsv").read_bytes() == PLAIN


def test_chunked_bodies(archive, tmp_path):
    url = archive.put("/a", PLAIN)
    archive.fail("/a", Fault(chunked=True, drop_after=100_000))
    fetch(url, tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == PLAIN


def test_a_body_of_unknown_length_needs_a_checksum(archive, tmp_path):
    endless = Fault(headers={"Content-Length": None})
    url = archive.put("/a", PLAIN)
    archive.fail("/a", endless, endless)
    with pytest.raises(DownloadError, match="how long"):
        fetch(url, tmp_path / "a", policy=QUICK)
    fetch(url, tmp_path / "a", md5=md5_of(PLAIN), policy=QUICK)
    assert (tmp_path / "a").read_bytes() == PLAIN


def test_a_gzip_body_of_unknown_length_that_breaks_is_resumed(archive, tmp_path):
    url = archive.put("/a.gz", PACKED)
    archive.fail("/a.gz", Fault(headers={"Content-Length": None}, drop_after=100_000))
    fetch(url, tmp_path / "a.gz", policy=QUICK)
    assert (tmp_path / "a.gz").read_bytes() == PACKED
    assert archive.log[1].start == 100_000


def test_a_web_page_instead_of_the_file_is_refused(archive, tmp_path):
    url = archive.put("/a", b"<html>please log in</html>", **{"Content-Type": "text/html"})
    with pytest.raises(DownloadError, match="web page"):
        fetch(url, tmp_path / "a", policy=QUICK)
    assert listing(tmp_path) == []


def test_redirects_are_followed_and_recorded(archive, tmp_path):
    target = archive.put("/b", PLAIN)
    archive.fail("/a", *[Fault(status=302, headers={"Location": "/b?signature=secret"})] * 2)
    archive.fail("/b", Fault(drop_after=100_000))
    fetched = fetch(f"{archive.url}/a", tmp_path / "a", policy=QUICK)
    assert fetched.path.read_bytes() == PLAIN
    assert fetched.version.final_url == target
    assert archive.gets("/b")[1].start > 0  # the range survives the redirect


def test_redirects_end(archive, tmp_path):
    archive.fail("/a", *[Fault(status=302, headers={"Location": "/a"})] * 20)
    with pytest.raises(DownloadError, match="more than 5"):
        fetch(f"{archive.url}/a", tmp_path / "a", policy=QUICK)


def test_a_redirect_must_not_leave_https(archive):
    with web.open_client("https://archive.example/a", policy=QUICK) as client:
        (guard,) = client.event_hooks["request"]
        guard(client.build_request("GET", "https://other.example/a"))
        with pytest.raises(DownloadError, match="not encrypted"):
            guard(client.build_request("GET", f"{archive.url}/a"))


def test_an_existing_file_is_recognised_or_replaced(archive, tmp_path):
    url, out = archive.put("/a.gz", PACKED), tmp_path / "a.gz"
    out.write_bytes(PACKED)
    assert fetch(url, out, policy=QUICK).transferred == 0
    out.write_bytes(PACKED[:-1] + b"?")
    assert fetch(url, out, policy=QUICK).transferred == len(PACKED)
    assert out.read_bytes() == PACKED
    asked = len(archive.log)
    assert fetch(url, out, md5=md5_of(PACKED), policy=QUICK).version is None
    assert len(archive.log) == asked


def test_an_existing_file_survives_a_failed_fetch(archive, tmp_path):
    (tmp_path / "a").write_bytes(b"precious")
    url = archive.put("/a", PLAIN)
    with pytest.raises(DownloadError):
        fetch(url, tmp_path / "a", md5="0" * 32, policy=QUICK)
    assert (tmp_path / "a").read_bytes() == b"precious"


@pytest.mark.parametrize("url", ["ftp://a.example/b", "nonsense", "https://", "http://[::1", ""])
def test_malformed_addresses(tmp_path, url):
    with pytest.raises(DownloadError, match="address"):
        fetch(url, tmp_path / "a", policy=QUICK)


def test_an_unreachable_server_is_named(tmp_path):
    with Archive() as server:
        url = server.url
    with pytest.raises(DownloadError, match=r"127.0.0.1 cannot be reached.*HTTPS_PROXY"):
        fetch(f"{url}/a", tmp_path / "a", policy=QUICK)


def test_the_proxy_of_the_environment_is_used(archive, tmp_path, monkeypatch):
    archive.put("/a", PLAIN)
    with Proxy(archive) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        fetch("http://archive.example/a", tmp_path / "a", policy=QUICK)
        assert proxy.asked == ["http://archive.example/a"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        fetch(f"{archive.url}/a", tmp_path / "b", policy=QUICK)
        assert len(proxy.asked) == 1
    monkeypatch.setenv("HTTP_PROXY", "gopher://x")
    with pytest.raises(DownloadError, match="proxy settings"):
        fetch(f"{archive.url}/a", tmp_path / "c", policy=QUICK)


FETCH = """
import sys
from pathlib import Path
from specformer_encoder.download.file import fetch
from specformer_encoder.errors import DownloadError
from specformer_encoder.download.web import Policy
try:
    fetch(sys.argv[1], Path(sys.argv[2]), policy=Policy(attempts=3, first_wait_s=0.01))
except DownloadError as error:
    sys.exit(str(error))
"""


def start(url, out, *, before=""):
    return subprocess.Popen(
        [sys.executable, "-c", before + FETCH, url, str(out)], stderr=subprocess.PIPE, text=True
    )


def test_killed_at_any_moment_it_ends_right(archive, tmp_path):
    content = gzip.compress(np.random.default_rng(3).bytes(1_500_000), 1)
    url, out, waiting = archive.put("/a.gz", content), tmp_path / "a.gz", tmp_path / "a.gz.part"
    archive.pace = 0.004
    draw, kills, resumed = np.random.default_rng(4), 0, 0
    while kills < 12:
        target = draw.integers(0, len(content))
        process = start(url, out)
        while process.poll() is None:
            try:
                got = waiting.stat().st_size
            except FileNotFoundError:
                got = 0
            if got >= target > 0 or (target == 0 and waiting.exists()):
                time.sleep(draw.uniform(0, 0.01))
                break
            time.sleep(0.001)
        process.kill()
        process.communicate()
        kills += 1
        # Nothing but the whole file ever has the name.
        if out.exists():
            assert out.read_bytes() == content
            out.unlink()
        else:
            resumed += 1
    process = start(url, out)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert out.read_bytes() == content
    assert listing(tmp_path) == ["a.gz"]
    assert resumed >= 3
    assert any(one.start > 0 for one in archive.log)


def test_two_at_once_fetch_one_file_once(archive, tmp_path):
    url, out = archive.put("/a.gz", PACKED), tmp_path / "a.gz"
    archive.pace = 0.03
    first = start(url, out)
    while not (tmp_path / "a.gz.part.json").exists():
        time.sleep(0.005)
    archive.pace = 0.005
    second = Notes()
    fetched = fetch(url, out, policy=QUICK, progress=second)
    assert first.communicate()[1] == ""
    assert fetched.transferred == 0
    assert out.read_bytes() == PACKED
    assert listing(tmp_path) == ["a.gz"]
    assert f"another process ({first.pid}) works on it" in second.notes[0]


def test_many_threads_do_not_disturb_each_other(archive, tmp_path):
    url, out = archive.put("/a.gz", PACKED), tmp_path / "a.gz"
    archive.fail("/a.gz", Fault(drop_after=50_000))
    failures = []

    def work():
        try:
            assert fetch(url, out, policy=QUICK).sha256 == hashlib.sha256(PACKED).hexdigest()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert out.read_bytes() == PACKED
    assert listing(tmp_path) == ["a.gz"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 128 kB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_came(archive, tiny_disk, tmp_path):
    url, out = archive.put("/a", PLAIN), tiny_disk / "a"
    with pytest.raises(DownloadError, match=r"full while 'a' is written.*goes on where"):
        fetch(url, out, policy=QUICK)
    assert not out.exists()
    got = (tiny_disk / "a.part").stat().st_size
    assert got > 50_000
    for name in ("a.part", "a.part.json"):  # to a larger disk, and on
        shutil.copy(tiny_disk / name, tmp_path / name)
    fetch(url, tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == PLAIN
    assert archive.log[-1].start == got


def test_a_limit_on_file_size_is_told_like_a_full_disk(archive, tmp_path):
    url, out = archive.put("/a", PLAIN), tmp_path / "a"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    process = start(url, out, before=limit)
    assert os.strerror(errno.EFBIG) in process.communicate()[1]
    assert process.returncode == 1
    assert (tmp_path / "a.part").stat().st_size == 100_000
    fetch(url, out, policy=QUICK)
    assert out.read_bytes() == PLAIN
    assert archive.log[-1].start == 100_000


def test_a_folder_that_cannot_be_written(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be read or written"):
        fetch(archive.put("/a", PLAIN), Path(tmp_path / "file" / "a"), policy=QUICK)
