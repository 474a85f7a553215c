"""A network of your own: checked before it trains, trained, judged, kept, used again.

Usage: python examples/own_network.py FOLDER
"""

import sys
from pathlib import Path

from torch import Tensor, nn

import convscope as cs


class TwoStages(nn.Module):
    """Two stages of convolution, ReLU and pooling, and a linear layer."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(in_features, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        logits: Tensor = self.head(self.stages(x).flatten(1))
        return logits


def main(folder: Path) -> None:
    """Trains it on the built-in digits."""
    digits = cs.data.load("digits")
    try:
        cs.check(TwoStages(in_features=64), digits.input_shape)
    except cs.errors.ShapeError as error:
        print(error)  # names the layer, both shapes, and in_features=32
    run = cs.fit(TwoStages(in_features=32), digits, epochs=10, learning_rate=0.1)
    run.save(folder, force=True)

    # The folder holds the weights, not your class: build it, and load them into it.
    again = cs.Run.load(folder, net=TwoStages(in_features=32))
    found = again.evaluate()
    low, high = found.interval
    print(f"accuracy {found.accuracy:.1%}, 95 % interval {low:.1%} to {high:.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
