"""Small files in the formats of the published sets, written byte by byte."""

import gzip
import lzma
import pickle
import struct

import numpy as np

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx_set(folder, *, train=40, test=20, suffix="", seed=0, dotted=False):
    """The four files of a set like MNIST; returns its arrays."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for stem, count in (("train", train), ("t10k", test)):
        arrays[f"{stem}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28))
        arrays[f"{stem}-labels-idx1-ubyte"] = np.arange(count) % 10
    for name, array in arrays.items():
        name = name.replace("-idx", ".idx") if dotted else name
        (folder / f"{name}{suffix}").write_bytes(PACK[suffix](idx_bytes(array)))
    return list(arrays.values())


def python2_batch(images, labels):
    """What Python 2 wrote: protocol 2, its strings as bytes, numpy's old names."""

    def text(value):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    shape = (len(images), 3072)
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02"
    array += integer(0) + b"\x85" + text(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + integer(0) + integer(1) + b"tR("
    dtype += integer(3) + text(b"|") + b"NNN" + integer(-1) * 2 + integer(0) + b"tb"
    array += b"(" + integer(1) + b"".join(map(integer, shape)) + b"\x86" + dtype
    array += b"\x89" + text(images.astype(np.uint8).tobytes()) + b"tb"
    numbers = b"](" + b"".join(integer(int(label)) for label in labels) + b"e"
    items = text(b"labels") + numbers + text(b"data") + array
    items += text(b"batch_label") + text(b"training batch 1 of 5")
    return b"\x80\x02}(" + items + b"u."


def write_cifar(folder, form="python", *, count=20, suffix="", seed=0):
    """Six batches; returns all images and labels, test batch last."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    images = rng.integers(0, 256, (6, count, 3, 32, 32), dtype=np.uint8)
    labels = np.tile(np.arange(count) % 10, (6, 1))
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, x, y in zip(names, images, labels, strict=True):
        if form == "python":
            content = python2_batch(x, y)
        elif form == "python3":
            batch = {b"data": x.reshape(-1, 3072), b"labels": y.tolist()}
            content = pickle.dumps(batch, protocol=4)
        else:
            name, rows = f"{name}.bin", np.c_[y, x.reshape(-1, 3072)]
            content = rows.astype(np.uint8).tobytes()
        (folder / f"{name}{suffix}").write_bytes(PACK[suffix](content))
    return images.reshape(-1, 3, 32, 32), labels.ravel()
