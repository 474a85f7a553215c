import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import feature_maps, filters
from convscope.data import load
from convscope.errors import RunError
from convscope.models import build
from convscope.train import Run, fit, resume
from convscope.train.film import TrainingFilm, read_film, size_bytes, write_film
from convscope.train.training.events import EpochEnded, Finished
from convscope.train.training.film_keeper import FilmKeeper

DATA = load("digits", size=32)


def network():
    torch.manual_seed(0)
    return build("lenet_page", in_channels=1, input_size=(32, 32))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("film") / "run"
    return fit(network(), DATA, epochs=3, folder=place, listeners=[FilmKeeper(place)])


def test_training_with_a_film_ends_at_the_same_bits(run):
    plain = fit(network(), DATA, epochs=3, listeners=[]).net.state_dict()
    assert all(value.equal(plain[n]) for n, value in run.net.state_dict().items())


def test_the_last_look_is_the_trained_network_and_the_first_the_new_one(run):
    film = Run.load(run.folder).film()
    assert film.epochs == (0, 1, 2, 3)
    for look, net in ((film.looks[0], network()), (film.looks[-1], run.net)):
        own = filters(net, "0")
        np.testing.assert_allclose(look.filters[0].weight, own.weight, rtol=1e-3)
        x = DATA.preprocessing.normalize(DATA.val.pixels[:1])
        layers = [each.label for each in look.maps.layers]
        maps = feature_maps(net.eval(), x, layers, most=8)
        for kept, each in zip(look.maps.layers, maps.layers, strict=True):
            np.testing.assert_allclose(kept.values, each.values, rtol=2e-3, atol=1e-3)
            assert kept.largest == pytest.approx(each.largest, rel=1e-5)
            assert kept.shape == each.shape


def test_the_film_is_a_file_of_the_run_with_its_checksum(run):
    assert "film.safetensors" in Run.load(run.folder).spec.files


def test_a_run_that_is_gone_on_with_goes_on_with_its_film(tmp_path):
    def stop(event):
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise KeyboardInterrupt

    place = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), DATA, epochs=4, folder=place,
            listeners=[FilmKeeper(place), stop], checkpoint_seconds=0)  # fmt: skip
    resume(place, net=network(), data=DATA, listeners=[FilmKeeper(place)])
    assert read_film(place).epochs == (0, 1, 2, 3, 4)


def test_a_film_that_grows_too_large_leaves_epochs_out(tmp_path):
    keeper = FilmKeeper(tmp_path)
    keeper.watch(network(), DATA)
    keeper._keep(0)
    keeper._most_bytes = 6 * size_bytes(keeper._looks[0])
    for epoch in range(1, 41):
        keeper(EpochEnded(epoch, 1, 0.0, None, None, 0.1, 1.0, 1.0, 0.0))
    keeper(Finished("done", 41, 1, 1.0, None))
    epochs = read_film(tmp_path).epochs
    assert (epochs[0], epochs[-1]) == (0, 41)
    assert 3 <= len(epochs) <= 6
    steps = np.diff(epochs[:-1])
    assert len(set(steps)) == 1


@pytest.mark.parametrize("name", ["mlp", "softmax_regression"])
def test_networks_without_convolutions_keep_their_templates(name, tmp_path):
    place = tmp_path / "run"
    fit(name, "digits", epochs=1, folder=place, listeners=[FilmKeeper(place)])
    look = read_film(place).looks[-1]
    assert look.filters[0].is_template
    assert look.maps is None


def test_a_network_is_watched_without_being_changed():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
    net.train()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    keeper = FilmKeeper("nowhere")
    keeper.watch(net, DATA)
    keeper._keep(0)
    assert [m.training for m in net.modules()] == [True, True, False, True]
    assert all(value.equal(before[n]) for n, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
    assert not any(p.grad is not None for p in net.parameters())


def test_what_is_no_film_is_refused(tmp_path, run):
    with pytest.raises(RunError, match=r"has no film: its training kept none\. Train"):
        read_film(tmp_path)
    (tmp_path / "film.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError):
        read_film(tmp_path)
    with pytest.raises(RunError, match="lies in no folder"):
        fit("softmax_regression", "digits", epochs=1, listeners=[]).film()
    film = run.film()
    again = write_film(tmp_path, TrainingFilm(film.looks[:1]))
    assert read_film(again.parent).epochs == (0,)
