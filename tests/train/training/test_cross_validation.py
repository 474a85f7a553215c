"""Cross-validation: nobody judges what it has seen, and what is done stays done."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from convscope import models
from convscope.data.arrays import from_arrays
from convscope.data.folds import assign_folds, pooled, without
from convscope.data.splits import content_hashes
from convscope.errors import ArgumentError, RunError, TrainingError, UnknownNameError
from convscope.train import verify
from convscope.train.planning import plan
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.training import cross_validation
from convscope.train.training.cross_validation import cross_validate
from convscope.train.training.events import FoldJudged, FoldStarted, Started, Stepped
from convscope.train.training.fitting import fit, more_epochs, resume
from train.nets import small_net

QUICK = {"epochs": 2, "batch_size": 16, "listeners": (), "optimize": False}


@pytest.fixture(scope="module")
def kept(tiny, tmp_path_factory):
    """A run of three folds, twice, and where it lies."""
    place = tmp_path_factory.mktemp("folds") / "run"
    run = cross_validate(tiny, "mlp", folds=3, repeats=2, folder=place, **QUICK)
    return run, place


def test_every_image_is_judged_once_in_each_repeat(kept, tiny):
    run, _ = kept
    everything = [n for part in tiny.parts.values() for n in part.names]
    for repeat in (1, 2):
        judged = [n for r in run.fold_results if r.repeat == repeat for n in r.names]
        assert Counter(judged) == Counter(everything)
    first, second = (
        {r.names for r in run.fold_results if r.repeat == repeat} for repeat in (1, 2)
    )
    assert first != second


def test_the_network_of_a_fold_has_not_seen_what_it_judges(tiny, monkeypatch):
    trained = []

    def watched(training, *arguments, **options):
        trained.append([set(p.names) for p in training.data.parts.values()])
        return carry_out(training, *arguments, **options)

    carry_out = cross_validation.carry_out
    monkeypatch.setattr(cross_validation, "carry_out", watched)
    run = cross_validate(tiny, "mlp", folds=3, validation=0.2, **QUICK)
    *folds, (train, val, test) = trained
    for (fold_train, fold_val, _), result in zip(folds, run.fold_results, strict=True):
        assert not (fold_train | fold_val) & set(result.names)
        assert len(fold_train) + len(fold_val) == result.trained_on
        assert fold_val
    names = {n for part in tiny.parts.values() for n in part.names}
    assert (train | val, test) == (names, set())


def copies():
    """Noise with labels that nothing but memory can tell, each image twice."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8), np.uint8)
    labels = rng.permutation(np.arange(60) % 2)
    return from_arrays(np.concatenate([images] * 2), np.concatenate([labels] * 2))


MEMORY = {**QUICK, "epochs": 40, "learning_rate": 0.1, "folds": 4}


def test_copies_do_not_tell_a_fold_its_labels():
    run = cross_validate(copies(), "mlp", Recipe(), **MEMORY)
    # 60 different images: chance is 0.5 with a standard deviation of 0.065.
    assert run.evaluate().accuracy < 0.5 + 4 * 0.065


def test_copies_that_are_taken_for_different_images_would_tell(monkeypatch):
    """The test above notices folds that part copies."""

    def apart(images):
        return [bytes([i]) * 8 for i in range(len(images))]

    monkeypatch.setattr(cross_validation, "content_hashes", apart)
    run = cross_validate(copies(), "mlp", Recipe(), **MEMORY)
    assert run.evaluate().accuracy > 0.5 + 4 * 0.065


def test_figures_are_pooled_and_the_interval_counts_each_image_once(kept, tiny):
    run, _ = kept
    found, images = run.evaluate(), 84
    right = sum(r.correct for r in run.fold_results)
    assert (found.samples, found.images, found.correct) == (2 * images, images, right)
    rate, z = right / (2 * images), 1.959964
    low, high = found.interval
    for edge in (low, high):  # Wilson: where the true rate would be z deviations off
        off = abs(edge - rate) / (edge * (1 - edge) / images) ** 0.5
        assert off == pytest.approx(z, rel=1e-5)
    accuracies = [score.accuracy for score in found.folds.scores]
    assert found.folds.spread == pytest.approx(np.std(accuracies, ddof=1))
    assert sum(score.images for score in found.folds.scores) == 2 * images
    assert len({m.name for m in found.mistakes}) == len(found.mistakes)
    assert str(found).endswith("on 84 images in 3 folds, 2 times")


def test_a_run_that_is_read_again_gives_the_same_figures_without_its_data(kept):
    run, place = kept
    again = Run.load(place)
    assert again.evaluate().to_dict() == run.evaluate().to_dict()
    assert again.evaluate(part="folds").folds == run.evaluate().folds
    told = json.loads((place / "folds.json").read_text())
    assert told == json.loads(json.dumps(run.evaluate().to_dict()))


def test_a_run_in_memory_is_saved_with_its_folds(tiny, tmp_path):
    run = cross_validate(tiny, "mlp", folds=2, **QUICK)
    run.save(tmp_path / "run")
    assert Run.load(tmp_path / "run").evaluate() == run.evaluate()
    assert verify(tmp_path / "run").is_intact


def test_every_file_of_a_fold_is_verified(kept, tmp_path, tiny):
    run, _ = kept
    place = run.save(tmp_path / "run")
    names = [each.name for each in verify(place).files]
    assert {"folds.json", "folds/1-1.safetensors", "folds/2-3.safetensors"} <= {*names}
    (place / "folds" / "2-3.safetensors").unlink()
    with pytest.raises(RunError, match=r"folds/2-3\.safetensors is missing"):
        Run.load(place)


def test_the_kept_network_has_learned_from_all(kept, tiny):
    run, place = kept
    assert (run.spec.data.train, run.spec.data.val, run.spec.data.test) == (84, 0, 0)
    all_of_it = pooled(tiny)
    alone = fit("mlp", all_of_it, run.spec.recipe, listeners=())
    for name, tensor in run.net.state_dict().items():
        assert torch.equal(tensor, alone.net.state_dict()[name]), name
    found = Run.load(place).evaluate(tiny, "train")
    assert (found.samples, found.trained_on) == (84, True)
    assert Run.load(place).evaluate(tiny).part == "folds"


def test_the_networks_of_folds_are_those_of_fit(kept, tiny):
    run, _ = kept
    pool = pooled(tiny)
    own = assign_folds(
        content_hashes(pool.train.pixels), pool.train.labels, 3, repeat=2
    )
    recipe = run.spec.recipe.with_changes({"seed": 1})
    alone = fit("mlp", without(pool, own == 1), recipe, listeners=())
    said = alone.probabilities(pool.train.subset(np.flatnonzero(own == 1)))
    result = next(r for r in run.fold_results if (r.repeat, r.fold) == (2, 2))
    assert torch.equal(result.probabilities, said)


class Stop:
    """A listener that interrupts at the n-th event of a kind, and counts folds."""

    def __init__(self, kind=None, at=0):
        self.kind, self.left, self.folds = kind, at, []

    def __call__(self, event):
        if isinstance(event, FoldStarted):
            self.folds.append((event.repeat, event.fold))
        if self.kind is not None and isinstance(event, self.kind):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "at", "rest"),
    [
        (FoldJudged, 2, [(1, 3), (2, 1), (2, 2), (2, 3)]),  # a fold is through
        (Stepped, 9, [(1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]),  # within the second
        (Started, 7, []),  # of the network that is kept
    ],
)
def test_what_is_done_is_not_done_again(kept, tiny, tmp_path, kind, at, rest):
    run, _ = kept
    place = tmp_path / "cut"
    options = {**QUICK, "folder": place, "checkpoint_seconds": 0}
    options |= {"listeners": [Stop(kind, at)]}
    with pytest.raises(KeyboardInterrupt):
        cross_validate(tiny, "mlp", folds=3, repeats=2, **options)
    if rest:
        with pytest.raises(RunError, match="its training is not through"):
            Run.load(place)
    told = Stop()
    again = resume(place, data=tiny, listeners=[told])
    assert told.folds == rest
    for ours, theirs in zip(again.fold_results, run.fold_results, strict=True):
        assert torch.equal(ours.probabilities, theirs.probabilities)
    for name, tensor in again.net.state_dict().items():
        assert torch.equal(tensor, run.net.state_dict()[name]), name
    assert again.evaluate().to_dict()["confusion"] == run.evaluate().confusion
    assert verify(place).is_intact
    assert sorted(p.name for p in (place / "folds").iterdir() if p.is_dir()) == []


def test_a_network_of_ones_own_begins_every_fold_as_it_was(tiny, tmp_path):
    net, whole = small_net(3), small_net(3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    run = cross_validate(tiny, whole, folds=2, **QUICK)
    place = tmp_path / "cut"
    stop = {**QUICK, "listeners": [Stop(FoldJudged, 1)]}
    with pytest.raises(KeyboardInterrupt):
        cross_validate(tiny, net, folds=2, folder=place, **stop)
    with torch.no_grad():
        net[0].weight.zero_()  # whatever became of it meanwhile
    again = resume(place, data=tiny, net=net, listeners=())
    for ours, theirs in zip(again.fold_results, run.fold_results, strict=True):
        assert torch.equal(ours.probabilities, theirs.probabilities)
    assert any(not torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert not (place / "folds" / "start.safetensors").exists()
    assert verify(place).is_intact


@pytest.fixture
def begun_with(set_of, tmp_path):
    """A run on other images, to begin with."""
    other = set_of(counts=(9, 9, 9))
    fit("mlp", other, epochs=1, listeners=()).save(tmp_path / "first")
    return str(tmp_path / "first")


def test_last_layers_share_their_features_and_nothing_else(
    tiny, begun_with, monkeypatch
):
    seen = []

    def counted(net, images, *arguments, **options):
        seen.append(len(images))
        return features(net, images, *arguments, **options)

    features = cross_validation.features
    options = {**QUICK, "head_only": True, "start": begun_with, "folds": 3}
    monkeypatch.setattr(cross_validation, "features", counted)
    run = cross_validate(tiny, **options)
    assert seen == [cross_validation.PROBED, 84]
    pool = pooled(tiny)
    own = assign_folds(content_hashes(pool.train.pixels), pool.train.labels, 3)
    for fold, result in enumerate(run.fold_results):
        alone = fit("mlp", without(pool, own == fold), run.spec.recipe, listeners=())
        said = alone.probabilities(pool.train.subset(np.flatnonzero(own == fold)))
        assert torch.allclose(result.probabilities, said, atol=1e-4)
    monkeypatch.setattr(cross_validation.CrossValidation, "_shared_features",
                        lambda _: None)  # fmt: skip
    slow = cross_validate(tiny, **options)
    for one, other in zip(run.fold_results, slow.fold_results, strict=True):
        assert torch.allclose(one.probabilities, other.probabilities, atol=1e-4)
    for name, tensor in run.net.state_dict().items():
        assert torch.allclose(tensor, slow.net.state_dict()[name], atol=1e-4), name


def test_every_training_begins_again_with_the_weights(tiny, begun_with, monkeypatch):
    before, after = [], []

    def watched(training, *arguments, **options):
        before.append({n: t.clone() for n, t in training.net.state_dict().items()})
        run = carry_out(training, *arguments, **options)
        after.append(run.net.state_dict())
        return run

    carry_out = cross_validation.carry_out
    monkeypatch.setattr(cross_validation, "carry_out", watched)
    cross_validate(tiny, start=begun_with, folds=3, **QUICK)
    theirs = Run.load(begun_with).net.state_dict()
    assert len(before) == 4  # three folds, and the network that is kept
    for begins, ends in zip(before, after, strict=True):
        assert all(torch.equal(begins[name], theirs[name]) for name in theirs)
        assert not torch.equal(ends["1.weight"], theirs["1.weight"])


def test_weights_that_have_seen_the_images_are_refused(tiny, pictures, tmp_path):
    source, seen = pictures({"a": 6, "b": 6}), tmp_path / "seen"
    for data in (tiny, source):
        fit("mlp", data, epochs=1, listeners=()).save(seen, force=True)
        with pytest.raises(ArgumentError, match="has seen images that the folds"):
            cross_validate(data, start=str(seen), folds=2, **QUICK)
    file = str(seen / "weights.safetensors")
    with pytest.raises(ArgumentError, match="has seen images that the folds"):
        cross_validate(source, "mlp", start=file, folds=2, **QUICK)


def test_who_begins_with_a_run_that_has_learned_from_all_images_is_warned(
    pictures, tmp_path
):
    source, place = pictures({"a": 8, "b": 8}), tmp_path / "folds"
    run = cross_validate(source, "mlp", folds=2, folder=place, **QUICK)
    options = {"start": str(place), "size": 12, "flip": False}
    notes = plan(source, **options).data.notes
    assert (
        f"weights: {place} was trained on all images of pictures, also on those that "
        "judge here: figures will be too good" in notes
    )
    others = pictures({"a": 8, "b": 8}, name="others", seed=5)
    assert not any("too good" in note for note in plan(others, **options).data.notes)
    assert run.spec.folds.folds == 2


def test_the_test_part_of_a_folder_is_judged_once_by_the_kept_network(
    pictures, tmp_path
):
    source = pictures({"a": 8, "b": 9, "c": 7}, name="all/train").parent
    pictures({"a": 3, "b": 3, "c": 3}, name="all/test", seed=9)
    place = tmp_path / "run"
    run = cross_validate(source, "mlp", folds=2, folder=place, **QUICK)
    found = Run.load(place).evaluate()
    assert found.images == 24
    assert not any("all/test/" in each.name for each in found.mistakes)
    judged = Run.load(place).evaluate(part="test")
    assert found.folds.test.confusion == judged.confusion
    assert found.folds.test.samples == 9
    assert run.evaluate() == found
    assert Run.load(place).evaluate(source).part == "folds"


def test_random_changes_are_measured_without_the_fold(pictures, monkeypatch):
    source, seen = pictures({"a": 8, "b": 8}), []

    def watched(data, recipe):
        seen.append(set(data.train.names) | set(data.val.names))
        return recipe, "measured"

    module = "convscope.train.{}.with_measured_augmentation"
    for place in ("planning", "training.cross_validation"):
        monkeypatch.setattr(module.format(place), watched)
    run = cross_validate(source, "mlp", folds=2, **QUICK)
    _, *of_folds = seen  # the first is for the network that is kept
    for names, result in zip(of_folds, run.fold_results, strict=True):
        assert not names & set(result.names)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"folds": 1}, "cross_validate: folds=1 must be a whole number, at least 2."),
        ({"folds": 2.0}, "cross_validate: folds=2.0 must be a whole number"),
        ({"folds": True}, "cross_validate: folds=True must be a whole number"),
        ({"repeats": 0}, "cross_validate: repeats=0 must be a whole number, at least"),
        ({"test": 0.2}, "cross_validate: test=0.2 has no meaning where every image"),
        ({"folds": 30}, "folds=30, but class '.' has 28 images .* Take fewer folds"),
    ],
)
def test_what_makes_no_sense_is_refused(tiny, arguments, text, tmp_path):
    with pytest.raises(ArgumentError, match=text):
        cross_validate(tiny, "mlp", folder=tmp_path / "run", **{**QUICK, **arguments})
    assert not (tmp_path / "run").exists()


def test_a_network_in_the_place_of_the_data_is_refused(tiny):
    with pytest.raises(ArgumentError, match=r"The data come first: cross_validate\("):
        cross_validate(small_net(3), tiny)


def test_layers_that_are_not_there_are_refused_before_anything_is_kept(tiny, tmp_path):
    place = tmp_path / "run"
    with pytest.raises(UnknownNameError):
        cross_validate(tiny, "mlp", freeze=("9*",), folder=place, **QUICK)
    with pytest.raises(TrainingError, match="so nothing is trained"):
        cross_validate(tiny, "mlp", freeze=("*",), folder=place, **QUICK)
    assert not place.exists()


def test_more_epochs_would_not_be_what_the_folds_had(kept):
    _, place = kept
    with pytest.raises(ArgumentError, match="Cross-validate anew with epochs=9"):
        more_epochs(place, 9)


def test_one_of_several_outputs_is_judged(tiny):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small_net(3)

        def forward(self, x):
            out = self.body(x)
            return {"logits": out, "raw": x}

    run = cross_validate(tiny, Two(), folds=2, output="logits", **QUICK)
    assert run.evaluate().images == 84


def test_a_model_of_ours_that_was_built_is_taken(tiny):
    net = models.build("mlp", in_channels=1, input_size=(12, 12), num_classes=3)
    run = cross_validate(tiny, net, folds=2, **QUICK)
    assert run.net is net
