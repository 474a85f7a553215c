"""Every number that the server gives is the library's."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from torch.nn import functional as F

import convscope as cs
from convscope.serve.application import STATIC, TYPES
from convscope.serve.encoding import decoded


def described(server):
    return server.get("page").json()


def wanted_of(cards):
    return ",".join(f"{card['id']}:0-{max(card['shape'][0], 1)}" for card in cards)


def test_cards_are_the_network_from_left_to_right(server, run):
    cards = described(server)["cards"]
    assert cards[0]["kind"] == "input"
    assert cards[-1]["kind"] == "softmax"
    for card in cards[1:]:
        assert all(source < card["id"] for source in card["inputs"])
        assert all(cards[s]["column"] < card["column"] for s in card["inputs"])
    places = [(card["column"], card["lane"]) for card in cards]
    assert len(set(places)) == len(places)
    learned = sum(p.numel() for p in run.net.parameters())
    assert sum(card["parameters"] for card in cards) == learned
    assert any(len(card["inputs"]) == 2 for card in cards)  # a residual addition


def test_maps_and_probabilities_are_those_of_a_forward_pass(page, run):
    cards = described(page)["cards"]
    samples = run.answers().samples
    x = run.spec.preprocessing.normalize(samples.pixels[3:4])
    answer = page.post(
        "run", kind="example", example=3, sequence=2, wanted=wanted_of(cards)
    )
    header, arrays = decoded(answer.content)
    captured = cs.capture(run.net, x)
    for card in cards[1:-1]:
        ours = captured[card["label"]].outputs[0][0].numpy()
        np.testing.assert_allclose(arrays[str(card["id"])], ours, rtol=2e-3, atol=1e-3)
        facts = header["ranges"][str(card["id"])]
        assert facts["high"] == pytest.approx(float(ours.max()))
    rows = run.probabilities(samples.subset([3]))[0].numpy()
    np.testing.assert_allclose(arrays["probabilities"], rows, atol=1e-5)
    assert header["guesses"][0]["class"] == int(rows.argmax())


def test_a_drawing_goes_through_the_runs_own_preprocessing(page, run):
    gray = np.full((80, 60), 255, np.uint8)
    gray[20:60, 28:34] = 0
    answer = page.post(
        "run", kind="drawing", height=80, width=60, sequence=5, content=gray.tobytes()
    )
    _, arrays = decoded(answer.content)
    wanted = run.spec.preprocessing.decode(Image.fromarray(gray))
    np.testing.assert_array_equal(arrays["seen"], wanted)
    moved = page.post("run", kind="drawing", height=80, width=60, sequence=6, right=2,
                      content=gray.tobytes())  # fmt: skip
    _, arrays = decoded(moved.content)
    np.testing.assert_array_equal(arrays["seen"][:, :, 2:], wanted[:, :, :-2])


def test_a_picture_file_is_read_and_a_broken_one_refused(page, run):
    made = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(made, "png")
    good = page.post("run", kind="picture", sequence=2, content=made.getvalue())
    assert good.status_code == 200
    bad = page.post("run", kind="picture", sequence=3, content=made.getvalue()[:50])
    assert bad.status_code == 422
    assert "image" in bad.json()["error"]["message"]


def test_an_older_input_is_dropped(page):
    newer = page.post("run", kind="example", example=1, sequence=9)
    older = page.post("run", kind="example", example=2, sequence=8)
    assert (newer.status_code, older.status_code) == (200, 204)


def test_fields_are_those_of_the_summarys_arithmetic(server, run):
    cards = described(server)["cards"]
    for card in [card for card in cards if card["kind"] == "convolution"]:
        axes = server.get("fields", card=card["id"]).json()["before"]["0"]
        ranges = cs.analysis.exact_ranges(run.net, run.spec.input_shape, card["label"])
        for axis, wanted in zip(axes, ranges, strict=True):
            assert list(zip(axis["first"], axis["last"], strict=True)) == list(wanted)


def test_what_a_unit_sees_sees_it(server):
    cards = described(server)["cards"]
    first, second = [c for c in cards if c["kind"] == "convolution"][:2]
    after = server.get("fields", card=first["id"]).json()["after"][str(second["id"])]
    before = server.get("fields", card=second["id"]).json()["before"][str(first["id"])]
    for axis in (0, 1):
        for unit, (low, high) in enumerate(
            zip(after[axis]["first"], after[axis]["last"], strict=True)
        ):
            seeing = [
                place
                for place, (a, b) in enumerate(
                    zip(before[axis]["first"], before[axis]["last"], strict=True)
                )
                if a <= unit <= b
            ]
            assert (seeing[0], seeing[-1]) == (low, high)


def test_explanations_are_the_librarys_records(page, run):
    cards = described(page)["cards"]
    card = next(c for c in cards if c["kind"] == "convolution" and c["id"] > 3)
    answer = page.get("explain", card=card["id"], channel=1, position="1,2").json()
    x = run.spec.preprocessing.normalize(run.answers().samples.pixels[3:4])
    ours = cs.explain_unit(run.net, x, card["label"], 1, (1, 2)).to_dict()
    assert json.loads(json.dumps(ours)) == answer


def test_a_changed_kernel_changes_what_follows_and_only_on_this_page(server, run):
    first, second = server.begin(), server.begin()
    cards = described(server)["cards"]
    card = next(c for c in cards if c["has_filters"])
    change = {"kind": "tap", "card": card["id"], "channel": 2, "input": 0, "at": [1, 1],
              "value": 3.5}  # fmt: skip
    edits = first.post("edit", json={"change": change}).json()["edits"]
    assert len(edits) == 1
    outputs = {}
    for name, each in (("changed", first), ("same", second)):
        each.post("run", kind="example", example=0, sequence=1)
        answer = each.get("values", wanted=f"{card['id']}:0-4")
        outputs[name] = decoded(answer.content)[1][str(card["id"])]
    x = run.spec.preprocessing.normalize(run.answers().samples.pixels[:1])
    weight = run.net.get_submodule(card["label"]).weight.detach().clone()
    same = F.conv2d(x, weight, padding=1)[0].numpy()
    weight[2, 0, 1, 1] = 3.5
    changed = F.conv2d(x, weight, padding=1)[0].numpy()
    np.testing.assert_allclose(outputs["same"], same[:4], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(outputs["changed"], changed[:4], rtol=2e-3, atol=1e-3)
    assert first.post("restore", json={"index": 0}).json() == {"edits": []}
    answer = first.get("values", wanted=f"{card['id']}:0-4")
    np.testing.assert_allclose(
        decoded(answer.content)[1][str(card["id"])], same[:4], rtol=2e-3, atol=1e-3
    )


def test_a_channel_switched_off_is_zero_and_a_named_filter_is_itself(page):
    cards = described(page)["cards"]
    card = next(c for c in cards if c["has_filters"])
    off = {"kind": "channel", "card": card["id"], "channel": 1, "off": True}
    assert page.post("edit", json={"change": off}).status_code == 200
    answer = page.get("values", wanted=f"{card['id']}:1-2")
    assert not decoded(answer.content)[1][str(card["id"])].any()
    named = {"kind": "filter", "card": card["id"], "channel": 0, "input": 0,
             "name": "edges_4"}  # fmt: skip
    assert page.post("edit", json={"change": named}).status_code == 200
    found = decoded(page.get("filters", card=card["id"], channel=0).content)[1]
    np.testing.assert_array_equal(
        found["weight"][0], cs.functional.filter_kernel("edges_4").numpy()
    )
    on = {**off, "off": False}
    edits = page.post("edit", json={"change": on}).json()["edits"]
    assert len(edits) == 1


def test_a_changed_network_is_kept_as_a_run(page, run):
    cards = described(page)["cards"]
    card = next(c for c in cards if c["has_filters"])
    nothing = page.post("keep", json={"name": "kept"})
    assert "nothing was changed" in nothing.json()["error"]["message"]
    change = {"kind": "tap", "card": card["id"], "channel": 0, "input": 0, "at": [0, 0],
              "value": -2.0}  # fmt: skip
    page.post("edit", json={"change": change})
    for bad in ("../out", "", "a/b", ".hidden", "x" * 65, "first"):
        assert page.post("keep", json={"name": bad}).status_code == 422, bad
    assert page.post("keep", json={"name": "kept"}).json() == {"run": "kept"}
    kept = cs.Run.load(run.folder.parent / "kept")
    weight = kept.net.get_submodule(card["label"]).weight
    assert weight[0, 0, 0, 0].item() == -2.0


def test_decisions_come_with_their_trust(page):
    answer = page.post("why", json={"method": "grad_cam", "target": 3})
    header, arrays = decoded(answer.content)
    assert header["trust"]["verdict"]
    assert arrays["map"].shape == (8, 8)


def test_mistakes_are_mistakes_and_have_thumbnails(server):
    found = server.get("examples", kind="mistakes", start=0, count=5).json()
    assert all(one["guess"] != one["label"] for one in found["examples"])
    every = server.get("examples", kind="test", start=0, count=3).json()
    assert every["count"] > 300
    picture = server.http.get(f"/api/thumbnail/0?token={server.token}")
    assert Image.open(io.BytesIO(picture.content)).size == (48, 48)


def test_the_pages_own_files_come_whole(server):
    for path in STATIC.rglob("*.*"):
        name = path.relative_to(STATIC).as_posix()
        answer = server.http.get(f"/static/{name}")
        assert answer.content == path.read_bytes(), name
        assert answer.headers["content-type"] == f"{TYPES[path.suffix]}; charset=utf-8"
