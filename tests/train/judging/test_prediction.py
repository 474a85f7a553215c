import io
import os
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data.dataset import Samples
from convscope.errors import ArgumentError, DataError
from convscope.train.judging import prediction
from convscope.train.judging.inference import probabilities
from convscope.train.judging.prediction import (
    Failure,
    Prediction,
    find_images,
    predict_files,
)
from train.nets import GRAY, images, small_net

CLASSES = ("ant", "bee", "cat", "dog")


@pytest.fixture
def folder(tmp_path):
    """Six images in two folders, with things beside them that are no images."""
    pixels = images(6)
    for i, name in enumerate(["b/2.png", "b/1.png", "a/x.png", "a/y.PNG", "z.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[i, 0].numpy()).save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "h.png").write_bytes(b"")
    return tmp_path


def relative(found, folder):
    return [os.path.relpath(path, folder) for path in found]


def predict(paths, **options):
    return list(predict_files(small_net(), GRAY, CLASSES, paths, **options))


def test_a_folder_gives_its_images_sorted_and_nothing_else(folder):
    found = relative(find_images([folder]), folder)
    assert found == ["z.png", "a/x.png", "a/y.PNG", "b/1.png", "b/2.png"]


def test_order_and_duplicates_are_kept(folder):
    asked = [folder / "z.png", folder / "a" / "x.png", folder / "z.png"]
    assert find_images(asked) == [str(path) for path in asked]


def test_patterns_are_sorted_and_count_each_file_once(folder):
    assert relative(find_images([f"{folder}/b/*.png"]), folder) == [
        "b/1.png",
        "b/2.png",
    ]
    found = find_images([f"{folder}/**/*.png"])
    assert relative(found, folder) == ["a/x.png", "b/1.png", "b/2.png", "z.png"]
    assert len(find_images([f"{folder}/b**"])) == 2


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder):
    odd = folder / "[a].png"
    (folder / "z.png").rename(odd)
    assert find_images([odd]) == [str(odd)]


def test_what_leads_nowhere_is_a_failure_in_its_place(folder):
    (folder / "empty").mkdir()
    asked = [folder / "no.png", folder / "z.png", f"{folder}/*.gif", folder / "empty"]
    assert find_images(asked) == [
        Failure(str(asked[0]), "no such file or folder"),
        str(asked[1]),
        Failure(str(asked[2]), "nothing matches this pattern"),
        Failure(str(asked[3]), "the folder holds no images"),
    ]


COLOR = GRAY.model_copy(update={"channels": 3, "mean": (0.5,) * 3, "std": (0.3,) * 3})
FORMS = {
    "gray": GRAY,
    "centered": GRAY.model_copy(update={"centering": "mass"}),
    "16 bits": GRAY.model_copy(update={"bits": 16}),
    "color": COLOR,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_sample_is_predicted_from_the_same_bits(tmp_path, form):
    preprocessing = FORMS[form]
    channels = preprocessing.channels
    dtype = torch.uint16 if preprocessing.bits == 16 else torch.uint8
    net, pixels = small_net(channels=channels), images(3, channels, dtype=dtype)
    seen = []
    net.register_forward_pre_hook(lambda _net, args: seen.append(args[0].clone()))
    samples = Samples(pixels, torch.zeros(3, dtype=torch.int64), list("abc"))
    expected = probabilities(net, samples, preprocessing)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, pixels.numpy(), strict=True):
        Image.fromarray(image[0] if channels == 1 else image.transpose(1, 2, 0)).save(
            path
        )
    found = list(predict_files(net, preprocessing, CLASSES, paths, top_k=4))
    assert torch.equal(seen[0], seen[1])
    for record, row in zip(found, expected, strict=True):
        assert dict(record.top) == dict(zip(CLASSES, row.tolist(), strict=True))


def test_records_do_not_depend_on_the_batch_size(folder):
    whole = predict([folder], top_k=2)
    for batch_size in (1, 2, 3):
        found = predict([folder], top_k=2, batch_size=batch_size)
        assert [r.path for r in found] == [r.path for r in whole]
        for one, other in zip(found, whole, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_top_is_sorted_and_holds_all_classes_at_most(folder):
    (record,) = predict([folder / "z.png"], top_k=9)
    values = [p for _, p in record.top]
    assert len(values) == len(CLASSES)
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-6)
    assert (record.class_name, record.probability) == record.top[0]


def test_a_bad_file_fails_in_its_place_and_the_others_are_predicted(folder):
    (folder / "b" / "bad.png").write_text("this is text")
    found = predict([folder / "b", folder / "gone.png", folder / "z.png"], batch_size=2)
    kinds = [type(record) for record in found]
    assert kinds == [Prediction, Prediction, Failure, Failure, Prediction]
    assert found[2].path.endswith("bad.png")
    assert found[2].reason


def test_when_every_file_is_bad_all_of_them_are_failures(folder):
    (folder / "bad.png").write_text("text")
    assert [type(r) for r in predict([folder / "bad.png"] * 3)] == [Failure] * 3


def test_standard_input_is_one_image(folder, monkeypatch):
    data = (folder / "z.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    piped, again, file = predict(["-", "-", folder / "z.png"])
    assert piped.probability == file.probability
    text = "standard input is empty. Pipe one image into it."
    assert again == Failure("-", text)


def test_an_endless_standard_input_is_refused(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(bytes(2 * 2**20)))
    monkeypatch.setattr(sys, "stdin", stream)
    monkeypatch.setattr(prediction, "MAX_STDIN_BYTES", 2**20)
    (found,) = predict(["-"])
    text = "standard input holds more than 1 MiB. Save it to a file, or send one image."
    assert found == Failure("-", text)
    assert stream.buffer.tell() == 2**20 + 1


def test_files_are_decoded_at_most_two_batches_ahead(folder, monkeypatch):
    decoded = []
    real = type(GRAY).decode

    def counting(self, source):
        decoded.append(source)
        return real(self, source)

    monkeypatch.setattr(type(GRAY), "decode", counting)
    records = predict_files(
        small_net(), GRAY, CLASSES, [folder / "z.png"] * 50, batch_size=3
    )
    for count, _ in enumerate(records, start=1):
        assert len(decoded) <= (count + 2) // 3 * 3 + 3
    assert len(decoded) == 50


def test_stopping_early_leaves_no_work_behind(folder):
    records = predict_files(small_net(), GRAY, CLASSES, [folder / "z.png"] * 50)
    next(records)
    records.close()


def test_progress_counts_files_to_the_end(folder):
    calls = []
    predict([folder], batch_size=2, progress=lambda *call: calls.append(call))
    assert calls == [(2, 5, "images"), (4, 5, "images"), (5, 5, "images")]


def test_records_become_dicts():
    record = Prediction("a.png", "ant", 0.75, (("ant", 0.75), ("bee", 0.25)))
    assert record.to_dict() == {
        "path": "a.png",
        "class": "ant",
        "probability": 0.75,
        "top": [
            {"class": "ant", "probability": 0.75},
            {"class": "bee", "probability": 0.25},
        ],
    }
    assert Failure("b", "gone").to_dict() == {"path": "b", "error": "gone"}


@pytest.mark.parametrize(
    ("paths", "options", "error", "text"),
    [
        (
            ["gone.png", "*.gif"],
            {},
            DataError,
            "predict: no images found ('gone.png': no such file or folder; '*.gif': "
            "nothing matches this pattern). Give files, folders, patterns in quotes, "
            "or - for standard input.",
        ),
        (
            [],
            {},
            DataError,
            "predict: no images found (no path was given). Give files, folders, "
            "patterns in quotes, or - for standard input.",
        ),
        (["-"], {"top_k": 0}, ArgumentError, "predict: top_k=0 must be at least 1."),
        (
            ["-"],
            {"batch_size": 0},
            ArgumentError,
            "predict: batch_size=0 must be at least 1.",
        ),
    ],
)
def test_wrong_input_says_what_to_change(
    tmp_path, monkeypatch, paths, options, error, text
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        predict_files(small_net(), GRAY, CLASSES, paths, **options)


def test_gray_and_color_files_both_reach_the_network(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(
        tmp_path / "rgb.png"
    )
    Image.fromarray(rng.integers(0, 255, (9, 30), dtype=np.uint8)).save(
        tmp_path / "gray.png"
    )
    for preprocessing, channels in ((GRAY, 1), (COLOR, 3)):
        net = small_net(channels=channels)
        found = list(predict_files(net, preprocessing, CLASSES, [tmp_path]))
        assert [type(record) for record in found] == [Prediction, Prediction]
