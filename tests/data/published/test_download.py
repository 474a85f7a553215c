import dataclasses
import hashlib
import http.server
import io
import re
import subprocess
import sys
import tarfile
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from convscope.data import describe, load
from convscope.data.published.catalog import CATALOG, RemoteFile
from convscope.data.published.download import fetch, unpack
from convscope.errors import DataError, MissingDataError
from data.files import write_cifar, write_idx_set

CONTENT = bytes(range(256)) * 4000  # 1 MB
KIB16 = 2**14  # pieces arrive whole


@dataclass
class Mirror:
    """A server on this machine, and how it misbehaves."""

    content: bytes = CONTENT
    break_after: list[int] = field(default_factory=list)  # bytes sent, per request
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)  # Range of each request
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mirror = self.server.mirror
        asked = self.headers.get("Range")
        mirror.asked.append(asked)
        start = 0
        if mirror.status != 200:
            self.send_error(mirror.status)
            return
        if asked and mirror.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(mirror.content):
                self.send_error(416)
                return
            self.send_response(206)
            last = len(mirror.content) - 1
            self.send_header(
                "Content-Range", f"bytes {start}-{last}/{len(mirror.content)}"
            )
        else:
            self.send_response(200)
        rest = mirror.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if mirror.break_after:
            rest = rest[: mirror.break_after.pop(0)]
        self.wfile.write(rest)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    servers = []

    def start(**behavior):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.mirror = Mirror(**behavior)
        server.mirror.url = f"http://127.0.0.1:{server.server_port}/file.gz"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server.mirror

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def remote(*mirrors, content=CONTENT, kind="sha256"):
    checksum = f"{kind}:{hashlib.new(kind, content).hexdigest()}"
    return RemoteFile(
        "file.gz", len(content), checksum, tuple(mirror.url for mirror in mirrors)
    )


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_arrives_whole_and_nothing_else_stays(serve, tmp_path, capfd, kind):
    mirror = serve()
    seen = []
    path = fetch(
        remote(mirror, kind=kind), tmp_path / "new", lambda *step: seen.append(step)
    )
    assert path.read_bytes() == CONTENT
    assert names_in(path.parent) == ["file.gz"]
    assert seen[-1] == (len(CONTENT), len(CONTENT), "downloading file.gz")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_there_is_not_asked_for_again(serve, tmp_path):
    mirror = serve()
    fetch(remote(mirror), tmp_path)
    fetch(remote(mirror), tmp_path)
    assert len(mirror.asked) == 1


def test_a_download_that_breaks_off_goes_on_where_it_was(serve, tmp_path):
    mirror = serve(break_after=[20 * KIB16, 10 * KIB16])
    assert fetch(remote(mirror), tmp_path).read_bytes() == CONTENT
    starts = [int(asked[6:-1]) if asked else 0 for asked in mirror.asked]
    assert starts == [0, 20 * KIB16, 30 * KIB16]


def test_a_later_call_goes_on_with_another_mirror(serve, tmp_path):
    first = serve(break_after=[20 * KIB16, *[0] * 9])
    with pytest.raises(MissingDataError):
        fetch(remote(first), tmp_path)
    assert names_in(tmp_path) == ["file.gz.part"]
    second = serve()
    assert fetch(remote(second), tmp_path).read_bytes() == CONTENT
    assert second.asked == [f"bytes={20 * KIB16}-"]


def test_a_mirror_without_ranges_starts_again(serve, tmp_path):
    mirror = serve(break_after=[20 * KIB16], ranges=False)
    assert fetch(remote(mirror), tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [None, f"bytes={20 * KIB16}-"]


def test_a_corrupt_mirror_is_passed_over(serve, tmp_path):
    corrupt, good = serve(content=bytes(len(CONTENT))), serve()
    assert fetch(remote(corrupt, good), tmp_path).read_bytes() == CONTENT
    assert (len(corrupt.asked), good.asked) == (1, [None])


def test_a_corrupt_beginning_does_not_spoil_the_good_mirror(serve, tmp_path):
    corrupt = serve(content=bytes(len(CONTENT)), break_after=[20 * KIB16, *[0] * 9])
    good = serve()
    assert fetch(remote(corrupt, good), tmp_path).read_bytes() == CONTENT
    assert good.asked == [f"bytes={20 * KIB16}-", None]


def test_a_part_file_longer_than_the_file_is_started_again(serve, tmp_path):
    (tmp_path / "file.gz.part").write_bytes(CONTENT + b"more")
    mirror = serve()
    assert fetch(remote(mirror), tmp_path).read_bytes() == CONTENT


def test_a_mirror_that_sends_without_end_is_cut_off(serve, tmp_path):
    endless = serve(content=CONTENT * 20)
    assert fetch(remote(endless), tmp_path).stat().st_size == len(CONTENT)


def test_when_no_mirror_has_it_each_reason_is_given(serve, tmp_path):
    gone, corrupt = serve(status=404), serve(content=b"<html>sign in</html>")
    dead = Mirror(url="http://127.0.0.1:9/file.gz")
    text = (
        f"{gone.url}: HTTP 404; "
        f"{corrupt.url}: it sent something else (checksum differs); "
        f"{dead.url}: no connection"
    )
    with pytest.raises(MissingDataError, match=f"^{re.escape(text)}$"):
        fetch(remote(gone, corrupt, dead), tmp_path)
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(serve, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"below: cannot be made \("):
        fetch(remote(serve()), tmp_path / "file" / "below")


def test_two_at_once_download_once(serve, tmp_path):
    mirror = serve()
    code = (
        "import sys; from pathlib import Path\n"
        "from convscope.data.published.catalog import RemoteFile\n"
        "from convscope.data.published.download import fetch\n"
        "name, size, checksum, url, folder = sys.argv[1:]\n"
        "fetch(RemoteFile(name, int(size), checksum, (url,)), Path(folder))"
    )
    file = remote(mirror)
    command = [sys.executable, "-c", code, file.name, str(file.size_bytes)]
    command += [file.checksum, mirror.url, str(tmp_path)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert mirror.asked == [None]


def published(serve, folder):
    """What the catalog says, if the files in ``folder`` were the published ones."""
    files = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        url = serve(content=content).url.replace("file.gz", path.name)
        files.append(RemoteFile(path.name, len(content), f"sha256:{checksum}", (url,)))
    return tuple(files)


def test_a_set_is_downloaded_once_and_then_found(serve, machine, monkeypatch):
    monkeypatch.delenv("CONVSCOPE_OFFLINE")
    arrays = write_idx_set(machine / "home", suffix=".gz")
    card = dataclasses.replace(
        describe("mnist"), files=published(serve, machine / "home"), content_md5=()
    )
    monkeypatch.setitem(CATALOG, "mnist", card)
    data = load("mnist")
    np.testing.assert_array_equal(data.test.pixels[:, 0], arrays[2])
    assert len(names_in(machine / "cache" / "mnist")) == 4
    monkeypatch.setenv("CONVSCOPE_OFFLINE", "1")
    assert load("mnist").fingerprint() == data.fingerprint()


def test_the_archive_is_unpacked_and_not_kept(serve, machine, monkeypatch):
    monkeypatch.delenv("CONVSCOPE_OFFLINE")
    images, _ = write_cifar(machine / "cifar-10-batches-py")
    (machine / "home").mkdir()
    with tarfile.open(machine / "home" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(machine / "cifar-10-batches-py", "cifar-10-batches-py")
    files = published(serve, machine / "home")
    card = dataclasses.replace(describe("cifar10"), files=files)
    monkeypatch.setitem(CATALOG, "cifar10", card)
    np.testing.assert_array_equal(load("cifar10").test.pixels, images[100:])
    assert names_in(machine / "cache" / "cifar10") == ["cifar-10-batches-py"]


def test_a_failed_download_says_why_and_what_to_put_where(serve, machine, monkeypatch):
    monkeypatch.delenv("CONVSCOPE_OFFLINE")
    mirror = serve(status=503)
    card = dataclasses.replace(describe("mnist"), files=(remote(mirror),))
    monkeypatch.setitem(CATALOG, "mnist", card)
    text = (
        f"load: mnist is not on this machine (looked below {machine}/data and "
        f"{machine}/cache) and the download failed ({mirror.url}: HTTP 503). Put these "
        f"files into {machine}/data/mnist or {machine}/cache/mnist:\n"
        f"  file.gz  1,024,000 bytes  {card.files[0].checksum}"
    )
    with pytest.raises(MissingDataError, match=f"^{re.escape(text)}$"):
        load("mnist")


def tar_of(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                info = content
                tar.addfile(info)
                continue
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_the_wanted_files_are_taken_and_no_other(tmp_path):
    members = {"deep/a": b"1", "../../b": b"2", "/etc/evil": b"3", "../c": b"4"}
    archive = tar_of(tmp_path / "x.tar.gz", members)
    unpack(archive, ("a", "b"), tmp_path / "in" / "out", limit=10)
    assert names_in(tmp_path) == ["in", "x.tar.gz"]
    assert names_in(tmp_path / "in") == ["out"]
    assert names_in(tmp_path / "in" / "out") == ["a", "b"]
    assert (tmp_path / "in" / "out" / "b").read_bytes() == b"2"


def test_files_join_a_folder_that_is_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"old")
    unpack(tar_of(tmp_path / "x.tar", {"a": b"new"}, "w"), ("a",), tmp_path / "out",
           limit=10)  # fmt: skip
    assert (tmp_path / "out" / "a").read_bytes() == b"new"


def test_a_link_is_not_a_file(tmp_path):
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive = tar_of(tmp_path / "x.tar.gz", {"a": link})
    text = f"{archive}: lacks a. Get it again."
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        unpack(archive, ("a",), tmp_path / "out", limit=10)


def test_a_member_that_is_too_large_is_refused(tmp_path):
    archive = tar_of(tmp_path / "x.tar.gz", {"d/a": bytes(11)})
    text = f"{archive}: d/a has 11 bytes, more than the 10 expected; refused."
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        unpack(archive, ("a",), tmp_path / "out", limit=10)
    assert names_in(tmp_path) == ["x.tar.gz"]


@pytest.mark.parametrize("kept", [0, 5, 300, 0.5])
def test_an_archive_cut_short_leaves_nothing_behind(tmp_path, kept):
    archive = tar_of(tmp_path / "x.tar.gz", {"a": CONTENT})
    whole = archive.read_bytes()
    kept = int(len(whole) * kept) if isinstance(kept, float) else kept
    archive.write_bytes(whole[:kept])
    with pytest.raises(DataError, match="Get it again"):
        unpack(archive, ("a",), tmp_path / "out", limit=10**7)
    assert names_in(tmp_path) == ["x.tar.gz"]
