"""What an attribution found: a map for each input, and how far it can be trusted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trust:
    """How far one map can be believed.

    Attributes:
        insertion: Mean probability of the class while the input is uncovered, the
            highest values of the map first; higher is better.
        deletion: The same while it is covered in that order; lower is better.
        random_insertion: What random orders of the same input give, one each.
        random_deletion: The same for deletion.
        randomized: Rank correlation with the map of the network whose last layers have
            shuffled weights, from the last layer alone to all; near 1 the map does not
            depend on what the network has learned.
    """

    insertion: float
    deletion: float
    random_insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    randomized: tuple[tuple[str, float], ...] = ()

    @property
    def gain(self) -> float:
        """Insertion less deletion, beyond what random orders give; above 0 is good."""
        return self.insertion - self.deletion - float(np.mean(self._random))

    @property
    def spread(self) -> float:
        """Standard deviation of random orders, which ``gain`` has to exceed."""
        return float(np.std(self._random, ddof=1)) if len(self._random) > 1 else 0.0

    @property
    def verdict(self) -> str:
        """What that says, in words."""
        final = self.randomized[-1][1] if self.randomized else 0.0
        if final > 0.5:
            return (
                "do not trust it: with shuffled weights it looks much the same "
                f"(rank correlation {final:.2f})"
            )
        if self.gain <= max(self.spread, 0.01):
            return (
                "it says no more than a random order does "
                f"({self.gain:+.2f} against a spread of {self.spread:.2f})"
            )
        if self.gain < 3 * self.spread:
            return (
                "weak: somewhat better than random orders "
                f"({self.gain:+.2f} with a spread of {self.spread:.2f})"
            )
        tested = ", and it depends on the weights" if self.randomized else ""
        return f"supported: {self.gain:+.2f} better than random orders{tested}"

    @property
    def _random(self) -> npt.NDArray[np.float64]:
        pairs = zip(self.random_insertion, self.random_deletion, strict=True)
        return np.array([one - two for one, two in pairs], np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "insertion": self.insertion,
            "deletion": self.deletion,
            "random_insertion": list(self.random_insertion),
            "random_deletion": list(self.random_deletion),
            "randomized": [list(pair) for pair in self.randomized],
            "gain": self.gain,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, eq=False)
class Attribution:
    """Which elements of each input speak for an output.

    Attributes:
        maps: (N, *space) of the inputs; above 0 speaks for the target. Methods that
            give no sign are nowhere below 0.
        method: How it was made.
        layer: Whose maps it was made from, where it was.
        target: What is explained, in words.
        classes: The class of each input, where a class is explained.
        trust: How far each map can be believed, if that was asked for.
        notes: What is not as one would expect, and why.
    """

    maps: Array
    method: str
    layer: str | None
    target: str
    classes: tuple[int, ...] = ()
    trust: tuple[Trust, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def signed(self) -> bool:
        """Whether there are values that speak against."""
        return bool((self.maps < 0).any())

    def to_dict(self, *, arrays: bool = False) -> dict[str, Any]:
        """Plain numbers, strings and lists.

        Args:
            arrays: Whether to add the maps, as nested lists.
        """
        found: dict[str, Any] = {
            "method": self.method,
            "layer": self.layer,
            "target": self.target,
            "classes": list(self.classes),
            "shape": list(self.maps.shape),
            "trust": [each.to_dict() for each in self.trust],
            "notes": list(self.notes),
        }
        if arrays:
            found["maps"] = self.maps.tolist()
        return found

    def __repr__(self) -> str:
        at = f" at {self.layer}" if self.layer else ""
        lines = [f"Attribution({self.method}{at} of {self.target}, {self.maps.shape})"]
        lines += [
            f"  {number}: {each.verdict}" for number, each in enumerate(self.trust)
        ]
        return "\n".join(lines)
