import numpy as np
import pytest

from convscope.train.judging.label_doubts import doubtful_labels


def planted(n=2000, classes=6, share=0.05, seed=0):
    """Probabilities of a good network, and labels of which a share is swapped."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    logits = rng.normal(0, 1, (n, classes))
    logits[np.arange(n), true] += 5
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = true.copy()
    swapped = rng.permutation(n)[: int(share * n)]
    labels[swapped] = (true[swapped] + rng.integers(1, classes, len(swapped))) % classes
    return p, labels, set(swapped.tolist())


def test_swapped_labels_are_found_and_the_surest_come_first():
    p, labels, swapped = planted()
    found = [doubt.index for doubt in doubtful_labels(p, labels)]
    assert len(swapped & set(found)) / len(swapped) > 0.85
    assert len(swapped & set(found)) / len(found) > 0.7
    first = found[: len(swapped) // 2]
    assert len(swapped & set(first)) / len(first) > 0.95


def test_cleanlab_finds_the_same():
    filter_ = pytest.importorskip("cleanlab.filter")
    p, labels, _ = planted()
    theirs = filter_.find_label_issues(
        labels, p, filter_by="confident_learning", n_jobs=1
    )
    ours = {doubt.index for doubt in doubtful_labels(p, labels)}
    same, either = (
        ours & set(np.flatnonzero(theirs)),
        ours | set(np.flatnonzero(theirs)),
    )
    assert len(same) / len(either) > 0.95


def test_right_labels_of_a_sure_network_are_not_doubted():
    p, labels, _ = planted(share=0.0)
    sure = p.argmax(1) == labels
    assert doubtful_labels(p[sure], labels[sure]) == []


def test_a_class_without_an_image_is_never_suggested():
    p = np.array([[0.2, 0.1, 0.7], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1]])
    assert doubtful_labels(p, np.array([0, 0, 1])) == []


def test_each_doubt_says_by_how_much():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]])
    (doubt,) = doubtful_labels(p, np.array([0, 0, 1, 1]))
    assert doubt.margin == pytest.approx(0.9)
