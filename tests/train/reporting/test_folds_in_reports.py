"""A report of a cross-validated run: of all images, none learned by who judged it."""

import torch

from convscope.train import cross_validate
from convscope.train.reporting.run_report import report
from convscope.viz.report import report_page


def test_a_report_is_of_the_folds_and_compares_with_nothing_that_saw_them(tiny):
    run = cross_validate(
        tiny, "mlp", folds=3, epochs=2, batch_size=16, optimize=False, listeners=()
    )
    found = report(run)
    assert found.evaluation == run.evaluate()
    assert len(found.answers) == found.evaluation.samples == 84
    assert found.baselines == ()  # the nearest neighbor of each image is the image
    said, own = {}, {}
    for result in run.fold_results:
        said |= dict(zip(result.names, result.probabilities, strict=True))
    for part in tiny.parts.values():
        own |= dict(zip(part.names, part.pixels, strict=True))
    answers = found.answers
    for i, name in enumerate(answers.samples.names):
        assert torch.equal(
            torch.from_numpy(answers.probabilities[i]).float(), said[name]
        )
        assert torch.equal(answers.samples.pixels[i], own[name])
    assert "84 images in 3 folds" in report_page(found)
