"""What a network is before it has weights, and what it does once it has them."""

from convscope.analysis.check import check

__all__ = ["check"]
