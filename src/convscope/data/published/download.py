"""Getting published files: several mirrors, resumed where broken off, checked."""

import contextlib
import logging
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import requests

from convscope.data.progress import Progress
from convscope.data.published.catalog import RemoteFile
from convscope.errors import DataError, MissingDataError

OFFLINE_VARIABLE = "CONVSCOPE_OFFLINE"
ATTEMPTS = 5  # per mirror; each goes on where the one before broke off
TIMEOUT_SECONDS = (10, 60)  # to connect, between two pieces
PIECE_BYTES = 2**14  # what is lost at most when a download breaks off


def is_offline() -> bool:
    """Whether ``$CONVSCOPE_OFFLINE`` forbids to download.

    >>> is_offline() in (True, False)
    True
    """
    return os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0")


def fetch(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """Downloads a published file, unless it is there already and whole.

    What has arrived stays in ``NAME.part``; the next try, by whatever mirror, asks for
    the rest only. A file whose checksum differs is thrown away.

    Args:
        file: What to get.
        folder: Where to put it; made if missing.
        progress: Called with bytes done, bytes in all, and a few words.

    Raises:
        MissingDataError: No mirror had it, with the reason for each.
        DataError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be made ({error}). Set XDG_CACHE_HOME to a folder that "
            "can be written, or pass cache_dir."
        ) from None
    with _alone(folder):
        return _fetch(file, folder, progress)


def _fetch(file: RemoteFile, folder: Path, progress: Progress | None) -> Path:
    import pooch  # here, because it brings tqdm, which warns in some notebooks

    reasons = []
    part = folder / f"{file.name}.part"
    for url in file.mirrors:
        resumed = True
        while resumed:  # a wrong beginning may come from elsewhere: once more from 0
            resumed = part.exists() and part.stat().st_size > 0
            try:
                with _quiet(pooch.get_logger()):
                    path = pooch.retrieve(
                        url,
                        known_hash=file.checksum,
                        fname=file.name,
                        path=folder,
                        downloader=_Resuming(part, file, progress),
                    )
                return Path(path)
            except requests.RequestException as error:
                reasons.append(f"{url}: {_in_words(error)}")
                break
            except ValueError:  # pooch's word for a checksum that differs
                reasons.append(f"{url}: it sent something else (checksum differs)")
            except OSError as error:
                raise DataError(
                    f"{folder}: {file.name} cannot be written ({error}). "
                    "Make room, or set XDG_CACHE_HOME to another folder."
                ) from None
    raise MissingDataError("; ".join(reasons))


class _Resuming:
    """A downloader for pooch that asks for what is not in the part file yet."""

    def __init__(self, part: Path, file: RemoteFile, progress: Progress | None) -> None:
        self.part, self.file, self.progress = part, file, progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            before = self._size()
            try:
                self._get_rest(url)
            except requests.RequestException:
                if attempt == ATTEMPTS or self._size() <= before:
                    raise  # a mirror that gives nothing is left at once
            if self._size() >= self.file.size_bytes:
                break
        self.part.touch()
        self.part.replace(output_file)  # a short file fails its checksum

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _get_rest(self, url: str) -> None:
        done, total = self._size(), self.file.size_bytes
        headers = {"Accept-Encoding": "identity"}  # the .gz itself, not its content
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(
            url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS
        ) as answer:
            if answer.status_code == 416:  # the part file is already too long
                self.part.unlink(missing_ok=True)
                return
            answer.raise_for_status()
            goes_on = re.match(
                rf"bytes {done}-", answer.headers.get("Content-Range", "")
            )
            if answer.status_code != 206 or not goes_on:
                done = 0
            with self.part.open("ab" if done else "wb") as part:
                for piece in answer.iter_content(PIECE_BYTES):
                    part.write(piece[: total - done])  # never more than was published
                    done += len(piece)
                    if self.progress:
                        what = f"downloading {self.file.name}"
                        self.progress(min(done, total), total, what)
                    if done >= total:
                        break


def _in_words(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broken off"
    return "no connection"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process downloads into this folder, where locks exist."""
    try:
        import fcntl
    except ImportError:  # Windows: there a mixed-up download fails its checksum
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """No lines on stderr while it works; who listens to ``progress`` knows enough."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def unpack(archive: Path, names: tuple[str, ...], folder: Path, *, limit: int) -> None:
    """Takes the named files out of a tar archive, whatever folder they are in there.

    Args:
        archive: A tar file, plain or compressed.
        names: Files to take; each must be there.
        folder: Where to put them; appears whole or not at all.
        limit: Largest file accepted, in bytes.

    Raises:
        DataError: The archive is damaged, lacks a file, or holds one that is too
            large or is not a plain file; or ``folder`` cannot be written, and then an
            OSError is its cause.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(dir=folder.parent)
    except OSError as error:
        raise DataError(
            f"{archive}: cannot be unpacked into {folder.parent} ({error}). Set "
            "XDG_CACHE_HOME to a folder that can be written, or pass cache_dir."
        ) from error
    with beside as temporary:
        taken = Path(temporary) / folder.name
        taken.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = Path(member.name).name
                    if member.size > limit:
                        raise DataError(
                            f"{archive}: {member.name} has {member.size:,} bytes, "
                            f"more than the {limit:,} expected; refused."
                        )
                    if name in names and member.isreg():
                        plain = member.replace(name=name, deep=False)
                        tar.extract(plain, taken, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(
                f"{archive}: cannot be unpacked ({error}). Get it again."
            ) from None
        if missing := [name for name in names if not (taken / name).is_file()]:
            raise DataError(f"{archive}: lacks {', '.join(missing)}. Get it again.")
        if not folder.exists():
            taken.rename(folder)
            return
        for name in names:
            (taken / name).replace(folder / name)
