import torch

from convscope.models import build


def test_after_whitening_patches_of_the_data_are_uncorrelated():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 20, 20), 3, 1)
    whitening = build("airbench94")[0]
    with torch.no_grad():
        whitening.bias.zero_()
        whitening.initialize_from_images(smooth)
        maps = whitening(smooth)
    assert torch.equal(whitening.weight[12:], -whitening.weight[:12])
    rows = maps[:, :12].permute(1, 0, 2, 3).flatten(1).double()
    second_moments = rows @ rows.T / rows.shape[1]
    # 5e-4 is added to each variance, the smallest of which is about 0.01 here
    torch.testing.assert_close(second_moments, torch.eye(12).double(), rtol=0, atol=0.1)


def test_the_first_outputs_of_a_convolution_copy_its_inputs():
    first = build("airbench94")[2][0]
    x = torch.randn(1, 24, 8, 8)
    torch.testing.assert_close(first(x)[:, :24], x)


def test_whitening_is_not_trained_but_its_bias_is():
    whitening = build("airbench94")[0]
    assert not whitening.weight.requires_grad
    assert whitening.bias.requires_grad
