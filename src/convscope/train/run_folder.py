"""The run folder: made whole, locked while in use, never overwritten unasked."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope.data.dataset import SetAside
from convscope.errors import (
    CheckpointError,
    Remedy,
    RunBusyError,
    RunError,
    RunExistsError,
)
from convscope.train import checkpoint as checkpoints
from convscope.train.checkpoint import Checkpoint, whole_or_absent, write_tensors
from convscope.train.spec import FILE, RunSpec, read_json, read_spec

try:
    import fcntl
except ImportError:  # Windows has no flock; there a run is not locked
    fcntl = None  # type: ignore[assignment]

WEIGHTS, METRICS, SET_ASIDE = "weights.safetensors", "metrics.jsonl", "set_aside.json"
CHECKPOINT, LOCK = "checkpoint", ".lock"
ELSEWHERE = Remedy("choose another place", "folder")


def going_on(path: Path) -> Remedy:
    """What to do with a run that is not through.

    >>> going_on(Path("runs/1")).in_python()
    "go on with it (cs.resume('runs/1'))"
    """
    return Remedy("go on with it", "resume", str(path), is_call=True)


class RunFolder:
    """Files of one run. ``create`` makes a new one, ``open`` finds one.

    ========================  =======================================================
    ``spec.json``             what the run is
    ``weights.safetensors``   the network, once training is through
    ``metrics.jsonl``         one line per epoch
    ``checkpoint/``           exact state to go on from, while training is not through
    ``set_aside.json``        files of the data that could not be used, if any
    ========================  =======================================================
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls,
        path: str | Path,
        spec: RunSpec,
        set_aside: Sequence[SetAside] = (),
        *,
        force: bool = False,
    ) -> "RunFolder":
        """Makes the folder with its spec, whole or not at all.

        Args:
            path: Where; folders above it are made if they are missing.
            spec: What the run is.
            set_aside: Files that were left out, with reasons.
            force: Replace a run that is there already.

        Raises:
            RunExistsError: There is something at ``path`` and ``force`` is off, or
                what is there is not a run.
            RunBusyError: Another process is training there.
            RunError: It cannot be written.
        """
        path = Path(path)
        path = path.resolve() if path.is_symlink() else path
        check_free(path, force=force)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        except OSError as error:
            raise RunError(
                f"cannot make {path}: {error.strerror or error}.",
                remedies=[ELSEWHERE],
            ) from error
        try:
            draft.chmod(0o755)
            (draft / FILE).write_text(spec.to_json(), "utf-8")
            (draft / METRICS).touch()
            if set_aside:
                rows = [{"path": bad.path, "reason": bad.reason} for bad in set_aside]
                text = json.dumps(rows, indent=2, ensure_ascii=False)
                (draft / SET_ASIDE).write_text(text + "\n", "utf-8")
            if path.exists():
                with RunFolder(path).locked():
                    shutil.rmtree(path)
            draft.rename(path)
        except OSError as error:
            check_free(path, force=False)  # another process may have been quicker
            raise RunError(
                f"cannot make {path}: {error.strerror or error}.",
                remedies=[ELSEWHERE],
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """The run in ``path``.

        Raises:
            RunError: There is no run.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file, not a folder" if path.exists() else "does not exist"
            raise RunError(f"run {path} {what}. Give a folder that `train` made.")
        return cls(path)

    @property
    def spec(self) -> RunSpec:
        """What the run is, read from its spec.json."""
        return read_spec(self.path)

    @property
    def is_finished(self) -> bool:
        """Whether training is through."""
        return (self.path / WEIGHTS).exists()

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was ever begun."""
        return (self.path / CHECKPOINT).exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process.

        Raises:
            RunBusyError: Another process holds it.
        """
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"cannot write in {self.path}: {error.strerror}. "
                "Training needs a run folder that it may write to."
            ) from error
        try:
            if fcntl is not None:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise RunBusyError(
                        f"another process is training in {self.path}.",
                        remedies=[Remedy("wait for it"), ELSEWHERE],
                    ) from None
            yield
        finally:
            os.close(descriptor)

    def save_checkpoint(self, state: Checkpoint) -> Path:
        """Makes ``state`` the latest checkpoint."""
        return checkpoints.write(self.path / CHECKPOINT, state)

    def load_checkpoint(self) -> tuple[Checkpoint, str | None]:
        """The latest usable checkpoint, and a warning if it is not the last one."""
        return checkpoints.read(self.path / CHECKPOINT)

    def write_history(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replaces ``metrics.jsonl``."""
        with whole_or_absent(self.path / METRICS) as file:
            for row in rows:
                file.write(json.dumps(row).encode() + b"\n")

    def history(self) -> list[dict[str, Any]]:
        """One dictionary for each epoch."""
        try:
            text = (self.path / METRICS).read_text("utf-8")
            return [json.loads(line) for line in text.splitlines()]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / METRICS} cannot be read: {error}.") from error

    def set_aside(self) -> tuple[SetAside, ...]:
        """Files that were left out, with reasons."""
        path = self.path / SET_ASIDE
        try:
            rows = json.loads(path.read_text("utf-8"))
            return tuple(SetAside(row["path"], row["reason"]) for row in rows)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error

    def finish(self, weights: dict[str, Tensor]) -> None:
        """Keeps the final weights; the checkpoint has done its work."""
        write_tensors(self.path / WEIGHTS, weights)
        shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)

    def weights(self) -> dict[str, Tensor]:
        """The final weights.

        Raises:
            RunError: Training was interrupted, or the file cannot be read.
        """
        if not self.is_finished:
            raise RunError(
                f"run {self.path} has no weights yet: its training is not through.",
                remedies=[going_on(self.path)],
            )
        try:
            return checkpoints.read_tensors(self.path / WEIGHTS).tensors
        except CheckpointError as error:
            raise RunError(
                error.what, remedies=[Remedy("train again", "force", True)]
            ) from error


def check_free(path: Path, *, force: bool) -> None:
    """Refuses to overwrite: without ``force`` anything, with it all but a run."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not is_run(path):
        raise RunExistsError(
            f"{path} exists and is not a run folder; it will not be overwritten.",
            remedies=[ELSEWHERE],
        )
    if not force:
        raise RunExistsError(
            f"{path} holds a run already.",
            remedies=[
                going_on(path),
                Remedy("replace it", "force", True),
                ELSEWHERE,
            ],
        )


def is_run(path: Path) -> bool:
    """Whether ``path`` holds a run of any version, by what its spec.json says.

    >>> is_run(Path("no-such-folder"))
    False
    """
    try:
        values = read_json(path / FILE)
    except RunError:
        return False
    return isinstance(values, dict) and {"format", "convscope"} <= values.keys()


def free_name(parent: Path, stem: str) -> Path:
    """``parent/stem-1``, or the next number that is not taken.

    >>> free_name(Path("no-such-folder"), "digits-mlp").name
    'digits-mlp-1'
    """
    number = 1
    while (parent / f"{stem}-{number}").exists():
        number += 1
    return parent / f"{stem}-{number}"
