"""``verify``: whether the files of a run are those that training wrote."""

from dataclasses import dataclass
from pathlib import Path

from convscope.errors import CheckpointError, RunError
from convscope.train import checkpoint as checkpoints
from convscope.train.run_folder import CHECKPOINT, WEIGHTS, RunFolder, State
from convscope.train.spec import FILE


@dataclass(frozen=True)
class VerifiedFile:
    """One file of a run, compared with its checksum.

    Attributes:
        name: Within the run folder.
        state: ``intact``; ``changed`` since it was written; ``missing``;
            or ``unreadable``.
        reason: What is wrong, in words; empty if nothing is.
    """

    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Verification:
    """What became of the files of a run.

    Attributes:
        run: The folder.
        files: One entry each.
    """

    run: str
    files: tuple[VerifiedFile, ...]

    @property
    def is_intact(self) -> bool:
        """Whether every file is as it was written."""
        return all(each.state == "intact" for each in self.files)


def verify(run: str | Path) -> Verification:
    """Compares every file of a run with the checksum that was kept of it.

    Args:
        run: The folder. Of one that is not through, its checkpoints are looked at.

    Raises:
        RunError: There is no run folder.

    >>> import tempfile
    >>> from convscope.train import fit
    >>> place = Path(tempfile.mkdtemp(), "run")
    >>> run = fit("softmax_regression", "digits", folder=place, epochs=1, listeners=())
    >>> verify(place).is_intact
    True
    >>> _ = (place / "weights.safetensors").write_bytes(b"something else")
    >>> [each.state for each in verify(place).files]
    ['intact', 'changed', 'intact']
    """
    place = RunFolder.open(run)
    try:
        spec = place.spec
    except RunError as error:
        state: State = "missing" if not (place.path / FILE).exists() else "changed"
        found = [VerifiedFile(FILE, state, str(error))]
        return Verification(str(place.path), (*found, *_sealed(place)))
    found = [VerifiedFile(FILE, "intact")]
    for name, written in spec.files.items():
        found.append(VerifiedFile(name, *place.state_of(name, written)))
    if not spec.files:
        found += _sealed(place)
    return Verification(str(place.path), tuple(found))


def _sealed(place: RunFolder) -> list[VerifiedFile]:
    """Files that hold their own checksum: checkpoints and weights."""
    names = [f"{CHECKPOINT}/{n}" for n in (checkpoints.LATEST, checkpoints.PREVIOUS)]
    found = []
    for name in (WEIGHTS, *names):
        if (place.path / name).exists():
            found.append(_one_sealed(place, name))
    return found


def _one_sealed(place: RunFolder, name: str) -> VerifiedFile:
    try:
        checkpoints.read_tensors(place.path / name)
    except CheckpointError as error:
        return VerifiedFile(name, "changed", str(error))
    return VerifiedFile(name, "intact")
