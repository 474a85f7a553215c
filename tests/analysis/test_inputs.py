"""Whatever a forward takes can be said: by sizes, or by examples of any structure."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ArgumentError, ShapeError
from convscope.execution import Inputs


class Words(nn.Module):
    """Indices to classes."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(20, 6), nn.Linear(6, 3)

    def forward(self, words):
        return self.out(self.table(words).mean(1))


class Captions(nn.Module):
    """An image, and indices beside it."""

    def __init__(self):
        super().__init__()
        self.words, self.image = Words(), nn.Conv2d(1, 3, 3)

    def forward(self, image, words):
        return self.image(image).mean((2, 3)) + self.words(words)


class Conditioned(nn.Module):
    """A number for each image, and arguments that are no tensors."""

    def __init__(self):
        super().__init__()
        self.image = nn.Conv2d(1, 3, 3)

    def forward(self, image, time, mode="double", *, factor=1):
        y = self.image(image * time[:, None, None, None]).mean((2, 3))
        return y * factor if mode == "double" else y / factor


class OneDict(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Captions()

    def forward(self, batch):
        return self.net(batch["image"], batch["words"])


class OneList(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, images):
        return sum(self.conv(x).mean((2, 3)) for x in images)


@dataclass
class Sample:
    image: Tensor
    words: Tensor
    name: str = ""


class OneDataclass(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Captions()

    def forward(self, sample):
        return self.net(sample.image, sample.words)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0].data


def image(count=5):
    return torch.rand(count, 1, 8, 8)


def words(count=5):
    return torch.randint(20, (count, 7))


def packed():
    pack = nn.utils.rnn.pack_padded_sequence
    return pack(torch.rand(3, 6, 4), [6, 4, 2], batch_first=True)


CASES = {
    "one tensor": (Words, words, words().shape),
    "positional": (Captions, lambda: (image(), words()), None),
    "by name": (
        Captions, lambda: Inputs((), {"words": words(), "image": image()}), None,
    ),
    "a dict": (OneDict, lambda: {"image": image(), "words": words()}, None),
    "a list": (OneList, lambda: [image(), image()], None),
    "a dataclass": (OneDataclass, lambda: Sample(image(), words(), "first"), None),
    "a number per image": (Conditioned, lambda: (image(), torch.rand(5)), None),
    "no tensors": (
        Conditioned,
        lambda: Inputs((image(), torch.rand(5), "single"), {"factor": 3}), None,
    ),
    "one image": (Captions, lambda: (image(1), words(1)), None),
    "a packed sequence": (Packed, packed, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_examples_of_any_structure_are_taken_and_left_alone(name):
    kind, make, _ = CASES[name]
    net, examples = kind(), make()
    given = examples if isinstance(examples, Inputs) else None
    before = [t.clone() for t in _tensors(examples)]
    cs.check(net, example_inputs=examples)
    record = cs.summary(net, example_inputs=examples)
    assert all(map(torch.equal, _tensors(examples), before))
    if given is not None:
        real = net(*given.positional, **given.named)
    else:
        real = net(*examples) if type(examples) is tuple else net(examples)
    assert record.rows[0].output_shape == tuple(real.shape)[-1:] or name == (
        "a packed sequence"
    )
    assert record.multiply_adds > 0
    assert record.unreached == ()


def _tensors(examples):
    given = examples if isinstance(examples, Inputs) else Inputs((examples,), {})
    return given.tensors


@pytest.mark.parametrize("name", sorted({*CASES} - {"a packed sequence"}))
def test_optimize_measures_with_the_same_examples(name):
    kind, make, _ = CASES[name]
    fast = cs.optimize(kind(), example_inputs=make(), training=False)
    assert isinstance(fast, kind)


def test_counts_for_one_image_do_not_depend_on_how_many_are_given():
    one, five = (
        cs.summary(Captions(), example_inputs=(image(n), words(n))) for n in (1, 5)
    )
    sizes = cs.summary(Captions(), [(1, 8, 8), (7,)])
    assert one.multiply_adds == five.multiply_adds == sizes.multiply_adds
    assert one.inference_bytes == five.inference_bytes
    assert one.input_shapes == five.input_shapes == ((1, 8, 8), (7,))


def test_sizes_stand_for_indices_where_the_first_layer_takes_these():
    cs.check(Words(), (7,))
    record = cs.summary(Captions(), {"words": (7,), "image": (1, 8, 8)})
    assert record.notes == (
        "input 1 is taken for indices, which its first layer takes",
    )
    bag = nn.Sequential(nn.EmbeddingBag(20, 6), nn.Linear(6, 3))
    assert cs.summary(bag, (7,)).rows[0].output_shape == (3,)


def test_a_size_may_be_that_of_a_number():
    assert cs.summary(Conditioned(), [(1, 8, 8), ()]).input_shapes == ((1, 8, 8), ())


def test_sizes_that_cannot_be_of_the_type_that_forward_takes_say_so():
    class Masked(nn.Module):
        def forward(self, x, mask):
            return x.masked_fill(mask, 0.0)

    with pytest.raises(ShapeError, match="Sizes stand for float32: where forward"):
        cs.check(Masked(), [(4,), (4,)])
    mask = torch.tensor([[True, False, True, False]])
    cs.check(Masked(), example_inputs=(torch.rand(1, 4), mask))


def test_examples_of_another_type_than_the_weights_are_named():
    text = r"are float64, the network's weights are float32\. Give the inputs with"
    with pytest.raises(ShapeError, match=text):
        cs.check(nn.Conv2d(1, 3, 3), example_inputs=image().double())


def test_examples_that_do_not_fit_are_refused_with_the_size_that_would():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))
    with pytest.raises(ShapeError, match=r"Use an input of \(1, 8, 8\)"):
        cs.check(net, example_inputs=torch.rand(4, 1, 9, 9))


@pytest.mark.parametrize("function", [cs.check, cs.summary])
def test_exactly_one_of_sizes_and_examples_is_asked_for(function):
    with pytest.raises(ArgumentError, match="neither input_size nor example_inputs"):
        function(nn.ReLU())
    with pytest.raises(ArgumentError, match="both input_size and example_inputs"):
        function(nn.ReLU(), (3,), example_inputs=torch.ones(1, 3))
    with pytest.raises(ArgumentError, match="hold no tensor"):
        function(nn.ReLU(), example_inputs="words")


def test_a_forward_that_uses_values_gets_those_of_the_examples():
    class Chosen(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large = nn.Linear(4, 2), nn.Linear(4, 7)

        def forward(self, x):
            return self.large(x) if x.sum().item() > 0 else self.small(x)

    x = torch.ones(3, 4)
    assert cs.summary(Chosen(), example_inputs=x).rows[0].output_shape == (7,)
    assert cs.summary(Chosen(), example_inputs=-x).rows[0].output_shape == (2,)


def test_rows_that_positions_become_are_no_mistake_where_examples_are_given():
    class Rows(nn.Module):
        def __init__(self, length):
            super().__init__()
            self.length = length

        def forward(self, x):
            return x.reshape(-1, self.length)

    cs.check(Rows(4), example_inputs=torch.rand(3, 5, 4))
    with pytest.raises(ShapeError, match="mixes images"):  # a row is of two positions
        cs.check(Rows(10), example_inputs=torch.rand(3, 5, 4))
