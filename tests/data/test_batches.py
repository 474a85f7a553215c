import torch

from convscope.data.batches import Batches
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing


def test_every_sample_comes_once_in_an_epoch():
    samples = Samples(
        torch.arange(101 * 9).view(101, 1, 3, 3).to(torch.uint8),
        torch.arange(101) % 4,
        [""] * 101,
    )
    grey = Preprocessing(channels=1, size=(3, 3), mean=(0.5,), std=(0.25,))
    batches = Batches(samples, grey, batch_size=20, seed=0)
    seen = torch.cat([batch.indices for batch in batches.epoch(0)])
    assert sorted(seen.tolist()) == list(range(101))
