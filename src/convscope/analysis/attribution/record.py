"""What an attribution found: a map for each input, and how far it can be trusted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Grade = Literal["supported", "weak", "empty", "refuted"]
GRADES: tuple[Grade, ...] = get_args(Grade)
MOST_ALIKE = 0.5  # rank correlation above which a map does not depend on the weights


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
    def likeness(self) -> float:
        """Rank correlation with the map of all weights shuffled; 0 if not known."""
        return self.randomized[-1][1] if self.randomized else 0.0

    @property
    def grade(self) -> Grade:
        """What that says, in a word."""
        if self.likeness > MOST_ALIKE:
            return "refuted"
        if self.gain <= max(self.spread, 0.01):
            return "empty"
        return "weak" if self.gain < 3 * self.spread else "supported"

    @property
    def verdict(self) -> str:
        """What that says, in words."""
        if self.grade == "refuted":
            return (
                "do not trust it: with shuffled weights it looks much the same "
                f"(rank correlation {self.likeness:.2f})"
            )
        if self.grade == "empty":
            return (
                "it says no more than a random order does "
                f"({self.gain:+.2f} against a spread of {self.spread:.2f})"
            )
        if self.grade == "weak":
            return (
                "weak: somewhat better than random orders "
                f"({self.gain:+.2f} with a spread of {self.spread:.2f})"
            )
        tested = ", and it depends on the weights" if self.randomized else ""
        return f"supported: {self.gain:+.2f} better than random orders{tested}"

    @property
    def figures(self) -> str:
        """The numbers behind it, in a line."""
        randomly = [
            float(np.mean(each))
            for each in (self.random_insertion, self.random_deletion)
        ]
        told = (
            f"insertion {self.insertion:.2f} (random {randomly[0]:.2f}), "
            f"deletion {self.deletion:.2f} ({randomly[1]:.2f})"
        )
        if self.randomized:
            told += f", rank correlation with weights shuffled {self.likeness:.2f}"
        return told

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
            "spread": self.spread,
            "grade": self.grade,
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
        minus: The class that theirs are compared with, if any.
        loss: Whether it is their loss that is explained.
    """

    maps: Array
    method: str
    layer: str | None
    target: str
    classes: tuple[int, ...] = ()
    trust: tuple[Trust, ...] = ()
    notes: tuple[str, ...] = ()
    minus: int | None = None
    loss: bool = False

    @property
    def signed(self) -> bool:
        """Whether there are values that speak against."""
        return bool((self.maps < 0).any())

    @property
    def title(self) -> str:
        """The method in words, and the layer."""
        name = self.method.replace("_", " ")
        return f"{name} at {self.layer}" if self.layer else name

    def named(self, names: Sequence[str] | None) -> str:
        """What is explained, classes by their names."""
        if names is None or not self.classes:
            return self.target
        return in_words(self.classes, self.minus, self.loss, names)

    def each(self) -> "Iterator[Attribution]":
        """One record for each input."""
        for number in range(len(self.maps)):
            place = slice(number, number + 1)
            words = self.target
            if self.classes:
                words = in_words(self.classes[place], self.minus, self.loss)
            yield replace(
                self, maps=self.maps[place], classes=self.classes[place], target=words,
                trust=self.trust[place],
            )  # fmt: skip

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


def in_words(
    classes: Sequence[int],
    minus: int | None,
    loss: bool,
    names: Sequence[str] | None = None,
) -> str:
    """What is explained of classes; of none, of each input's own.

    >>> in_words((1, 1), 4, False)
    'class 1 rather than class 4'
    >>> in_words((0,), None, True, ["cat", "dog"])
    "the loss of 'cat'"
    """

    def name(number: int) -> str:
        return f"class {number}" if names is None else repr(names[number])

    same = len(set(classes)) == 1
    words = name(classes[0]) if same else "the class of each input"
    if loss:
        words = f"the loss of {words}"
    return words if minus is None else f"{words} rather than {name(minus)}"


def joined(found: Sequence[Attribution]) -> Attribution:
    """Records of several inputs as one, made by the same method of the same layer."""
    classes = tuple(label for each in found for label in each.classes)
    first = found[0]
    return replace(
        first,
        maps=np.concatenate([each.maps for each in found]),
        classes=classes,
        target=in_words(classes, first.minus, first.loss) if classes else first.target,
        trust=tuple(one for each in found for one in each.trust),
        notes=tuple(dict.fromkeys(note for each in found for note in each.notes)),
    )


@dataclass(frozen=True)
class Ranked:
    """What one method is worth on some inputs.

    Attributes:
        method: Which.
        gain: Mean of `Trust.gain`.
        grades: How many inputs have each grade, the best first.
    """

    method: str
    gain: float
    grades: tuple[int, ...]

    def __str__(self) -> str:
        count = sum(self.grades)
        pairs = zip(GRADES, self.grades, strict=True)
        told = ", ".join(f"{n} {grade}" for grade, n in pairs if n)
        if count == 1:
            told = told.removeprefix("1 ")
        return f"{self.method} {self.gain:+.2f} ({told})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "method": self.method,
            "gain": self.gain,
            **dict(zip(GRADES, self.grades, strict=True)),
        }


def ranking(found: Sequence[tuple[str, Sequence[Trust]]]) -> tuple[Ranked, ...]:
    """Methods, the most trustworthy first.

    Those are last whose maps are mostly refuted by shuffled weights, whatever they
    gain; of the others one is better that gains more over random orders.

    Args:
        found: Methods, each with the trust of its maps of the same inputs.

    >>> good = Trust(0.9, 0.1, (0.5, 0.5), (0.5, 0.5))
    >>> [str(one) for one in ranking([("rise", [good])])]
    ['rise +0.80 (supported)']
    """
    made = []
    for method, trust in found:
        grades = [each.grade for each in trust]
        counts = tuple(grades.count(grade) for grade in GRADES)
        gain = float(np.mean([each.gain for each in trust])) if trust else 0.0
        made.append(Ranked(method, gain, counts))
    return tuple(
        sorted(made, key=lambda one: (2 * one.grades[-1] > sum(one.grades), -one.gain))
    )
