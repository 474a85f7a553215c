"""Trees of folders, links and odd names: no picture is lost, relabeled or doubled."""

import os
import random

import pytest

from convscope.data.folders.scan import Entry, Scan, scan

NAMES = [
    *("cat", "a b", "-rf", "%s", "new\nline", "\x1b[31mred", "x" * 200),
    *("cafe\u0301", "\u202egnp", "\u732b"),
    *(os.fsdecode(name) for name in (b"caf\xe9", b"\xff\xfe")),
]


def grow(root, chance):
    """A random tree; returns the folders in it."""
    folders = [root]
    for number in range(chance.randint(2, 14)):
        parent = chance.choice(folders if number > 1 else [root])
        folder = parent / f"{number}{chance.choice(NAMES)}"
        folder.mkdir()
        folders.append(folder)
        for image in range(chance.randint(0, 3)):
            (folder / f"{image}.png").touch()
    return folders


def tie(root, folders, chance):
    """Links of every kind: up, down, across, to themselves, to nothing, in a chain."""
    links = [root / "nowhere"]
    for number in range(chance.randint(0, 16)):
        ending = ".png" if chance.random() < 0.15 else ""
        link = chance.choice(folders) / f"link{number}{ending}"
        link.symlink_to(chance.choice([*folders, *links, link, "..", ".", "../.."]))
        links.append(link)


def really_there(root):
    """Every image in a class folder, by the folder it really lies in."""
    files = (p for p in root.rglob("*.png") if p.parent != root and not p.is_symlink())
    # rglob follows no links to folders
    return {path: path.relative_to(root).parts[0] for path in files}


def wrong(listing, root):
    """Sentences about what a scan of ``root`` got wrong."""
    expected, seen = really_there(root), {}
    for entry in listing.entries:
        path = root / entry.path
        if path.is_symlink():
            continue
        real = path.resolve()
        if real in seen:
            yield f"{real.name} of {real.parent.name} is there twice"
        seen[real] = entry.label
    if seen.keys() != expected.keys():
        yield f"lost or gained: {seen.keys() ^ expected.keys()}"
    class_of = {}
    for real, label in seen.items():
        if class_of.setdefault(expected.get(real), label) != label:
            yield f"{real} has the class {label!r}"


@pytest.mark.parametrize("seed", range(60))
def test_every_picture_is_there_once_in_its_own_class(tmp_path, seed):
    chance = random.Random(seed)
    root = tmp_path / "root"
    root.mkdir()
    tie(root, grow(root, chance), chance)
    listing = scan(root, layout="classes")
    assert list(wrong(listing, root)) == []
    for label in listing.classes:
        label.encode()  # every name can be written


def test_a_scan_that_follows_links_upwards_would_be_noticed(tmp_path):
    for name in ("apple", "pear"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    (tmp_path / "apple" / "loop").symlink_to(tmp_path)
    listing = scan(tmp_path)
    assert list(wrong(listing, tmp_path)) == []
    again = Entry("apple/loop/pear/1.png", "", "apple", 0, 0)
    bad = Scan(tmp_path, (), listing.classes, (*listing.entries, again))
    assert list(wrong(bad, tmp_path)) == ["1.png of pear is there twice"]
