"""Folders of images: listed, audited, decoded once, parted by content."""
