"""The run folder: made whole, locked while in use, never overwritten unasked."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

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
from convscope.train.fold_results import FOLDS, is_result
from convscope.train.spec import FILE, RunSpec, read_json, read_spec
from convscope.train.untrusted_files import parse_json, read_text, sha256

try:
    import fcntl
except ImportError:  # Windows has no flock; there a run is not locked
    fcntl = None  # type: ignore[assignment]

WEIGHTS, METRICS, SET_ASIDE = "weights.safetensors", "metrics.jsonl", "set_aside.json"
CHECKPOINT, LOCK, FIGURES = "checkpoint", ".lock", "folds.json"
# Besides spec.json, which holds their checksums, and the results of folds.
FILM = "film.safetensors"
FILES = (WEIGHTS, METRICS, SET_ASIDE, FIGURES, FILM)
State = Literal["intact", "changed", "missing", "unreadable"]
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
    ``film.safetensors``      filters and maps by epoch, if training kept a film
    ``set_aside.json``        files of the data that could not be used, if any
    ``folds.json``            figures of a cross-validation, if there was one
    ``folds/``                predictions of each of its folds
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
            spec = spec.model_copy(update={"files": {}, "kept_epoch": None})
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

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to go on from."""
        return self.has_checkpoint or (self.path / FOLDS).exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process.

        Raises:
            RunBusyError: Another process holds it.
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(self.path / LOCK, flags, 0o644)
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

    def checkpoint_shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Shapes of the network's weights in the latest checkpoint that can be read."""
        for name in (checkpoints.LATEST, checkpoints.PREVIOUS):
            with contextlib.suppress(CheckpointError):
                shapes = checkpoints.read_shapes(self.path / CHECKPOINT / name)
                return {
                    name.removeprefix("net/"): shape
                    for name, shape in shapes.items()
                    if name.startswith("net/")
                }
        return None

    def checkpoint_weights(self) -> dict[str, Tensor]:
        """The network's weights in the latest checkpoint; their average, if it has one.

        Raises:
            CheckpointError: There is none that can be read.
        """
        state, _ = self.load_checkpoint()
        average = state.part("average").items()
        start = "module."
        averaged = {n.removeprefix(start): t for n, t in average if n.startswith(start)}
        return averaged or state.part("net")

    def require_checkpoint(self) -> str:
        """Which checkpoint stands in for the weights of a run that is not through.

        Raises:
            RunError: There is neither.
        """
        if not self.has_checkpoint:
            self.require_finished()
        state, _ = self.load_checkpoint()
        position = state.values.get("position")
        epoch = position.get("epoch") if isinstance(position, dict) else None
        return (
            f"run {self.path} is not through: these are the weights of its last "
            f"checkpoint, after {epoch} of {self.spec.recipe.epochs} epochs."
        )

    def write_history(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replaces ``metrics.jsonl``."""
        with whole_or_absent(self.path / METRICS) as file:
            for row in rows:
                file.write(json.dumps(row, allow_nan=False).encode() + b"\n")

    def write_figures(self, figures: dict[str, object]) -> None:
        """Writes ``folds.json``: what a cross-validation found, for any program."""
        text = json.dumps(figures, indent=2, allow_nan=False)
        with whole_or_absent(self.path / FIGURES) as file:
            file.write(text.encode() + b"\n")

    def history(self) -> list[dict[str, Any]]:
        """One dictionary for each epoch."""
        path = self.path / METRICS
        try:
            lines = read_text(path).splitlines()
        except FileNotFoundError:
            return []
        rows = [parse_json(line, path) for line in lines]
        for row in rows:
            numbers = row.values() if isinstance(row, dict) else ("",)
            if not all(n is None or isinstance(n, int | float) for n in numbers):
                raise RunError(f"{path} holds something else than an epoch's figures.")
        return rows

    def set_aside(self) -> tuple[SetAside, ...]:
        """Files that were left out, with reasons."""
        path = self.path / SET_ASIDE
        try:
            rows = parse_json(read_text(path), path)
            found = tuple(SetAside(row["path"], row["reason"]) for row in rows)
        except FileNotFoundError:
            return ()
        except (KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        if not all(isinstance(t, str) for bad in found for t in (bad.path, bad.reason)):
            raise RunError(f"{path} holds something else than paths and reasons.")
        return found

    def finish(self, weights: dict[str, Tensor], kept_epoch: int | None = None) -> None:
        """Keeps the final weights and the checksum of every file.

        Args:
            weights: Of the network.
            kept_epoch: Whose they are, if not the last one's.
        """
        write_tensors(self.path / WEIGHTS, weights)
        folds = (f"{FOLDS}/{path.name}" for path in (self.path / FOLDS).glob("*"))
        files = (*FILES, *sorted(filter(is_result, folds)))
        there = (n for n in files if (self.path / n).exists())
        sums = {name: sha256(self.path / name) for name in there}
        spec = self.spec.model_copy(update={"files": sums, "kept_epoch": kept_epoch})
        self.write_spec(spec)
        # The checkpoint has done its work.
        shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)

    def write_spec(self, spec: RunSpec) -> None:
        """Replaces ``spec.json``."""
        with whole_or_absent(self.path / FILE) as file:
            file.write(spec.to_json().encode())

    def require_finished(self) -> None:
        """Refuses a run without final weights.

        Raises:
            RunError: Training was interrupted.
        """
        if not self.is_finished:
            raise RunError(
                f"run {self.path} has no weights yet: its training is not through.",
                remedies=[going_on(self.path)],
            )

    def require_intact(self, spec: RunSpec) -> None:
        """Refuses a run of which a file has changed since training was through.

        Raises:
            RunError: Names the first such file.
        """
        for name, written in spec.files.items():
            state, reason = self.state_of(name, written)
            if state != "intact":
                again = Remedy("train again", "force", True)
                raise RunError(
                    reason, remedies=[Remedy("put the original back"), again]
                )

    def state_of(self, name: str, written: str) -> tuple[State, str]:
        """Whether a file still has the checksum that was kept, and what is wrong."""
        path = self.path / name
        if name not in FILES and not is_result(name):
            return "unreadable", f"{FILE} tells of {name!r}, which is no file of a run."
        try:
            if sha256(path) == written:
                return "intact", ""
        except FileNotFoundError:
            return "missing", f"{path} is missing."
        except RunError as error:
            return "unreadable", str(error)
        return "changed", (
            f"{path} has changed since it was written: its sha256 is not the one in "
            f"{FILE}."
        )

    def weights(self) -> dict[str, Tensor]:
        """The final weights.

        Raises:
            RunError: Training was interrupted, or the file cannot be read.
        """
        self.require_finished()
        with _train_again():
            return checkpoints.read_tensors(self.path / WEIGHTS).tensors

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the final weights, which are not read."""
        self.require_finished()
        with _train_again():
            return checkpoints.read_shapes(self.path / WEIGHTS)


@contextlib.contextmanager
def _train_again() -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        remedy = Remedy("train again", "force", True)
        raise RunError(error.what, remedies=[remedy]) from error


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
