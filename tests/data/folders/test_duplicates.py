import numpy as np
from scipy.fft import dctn

from convscope.data.folders import duplicates

RNG = np.random.default_rng(0)


def smooth(count):
    coarse = RNG.integers(0, 256, (count, 4, 4))
    return np.kron(coarse, np.ones((4, 4))).astype(np.uint8)


def test_hashes_are_signs_of_the_cosine_transform():
    pictures = smooth(50)
    expected = []
    for picture in pictures:
        spectrum = dctn(picture.astype(np.float64))[:8, :8].ravel()
        spectrum[0] = 0
        floor = duplicates.SLACK * np.sqrt((spectrum**2).mean())
        bits = spectrum > np.median(spectrum) + floor
        expected.append(np.packbits(bits).view(np.uint64)[0])
    different = duplicates.perceptual_hashes(pictures) != np.array(expected)
    assert different.sum() <= 1  # float32 may round one frequency across the median


def test_distances_count_bits():
    left, right = (RNG.integers(0, 2**63, n).astype(np.uint64) for n in (20, 30))
    expected = [[bin(int(a) ^ int(b)).count("1") for b in right] for a in left]
    np.testing.assert_array_equal(duplicates.distances(left, right), expected)


def test_distances_are_the_same_without_numpy_2(monkeypatch):
    left, right = (RNG.integers(0, 2**63, n).astype(np.uint64) for n in (20, 30))
    expected = duplicates.distances(left, right)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    np.testing.assert_array_equal(duplicates.distances(left, right), expected)


def test_groups_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", (7, 9))
    pictures = smooth(40)
    pictures[33] = pictures[2] // 2 + 60
    pictures[39] = pictures[2]
    pictures[21] = pictures[20]
    assert duplicates.near_groups(pictures, 6) == [[2, 33, 39], [20, 21]]


def test_alike_in_hash_alone_is_not_enough():
    left = smooth(1)[0].astype(np.float64)
    noise = RNG.normal(0, 60, left.shape)
    pictures = np.stack([left, np.clip(left + noise, 0, 255)]).astype(np.uint8)
    assert duplicates.near_groups(pictures, 64) == []


def test_few_pictures_have_no_groups():
    for count in (0, 1):
        assert duplicates.near_groups(smooth(count), 6) == []


def test_what_was_kept_is_used_for_the_same_thumbnails_only(tmp_path, monkeypatch):
    path = tmp_path / "near.json"
    pictures = smooth(20)
    pictures[5] = pictures[1]
    assert duplicates.kept_near_groups(pictures, 6, path) == [[1, 5]]
    found = duplicates.near_groups
    monkeypatch.setattr(duplicates, "near_groups", lambda *_: "compared again")
    assert duplicates.kept_near_groups(pictures, 6, path) == [[1, 5]]
    assert duplicates.kept_near_groups(pictures, 5, path) == "compared again"
    monkeypatch.setattr(duplicates, "near_groups", found)
    pictures[7] = pictures[2]
    assert duplicates.kept_near_groups(pictures, 6, path) == [[1, 5], [2, 7]]
    path.write_text('{"key": 1, "groups": [["x"]]}')
    assert duplicates.kept_near_groups(pictures, 6, path) == [[1, 5], [2, 7]]
