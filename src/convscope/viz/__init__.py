"""Records become pictures; matplotlib is the extra ``viz``."""

from convscope.viz.receptive_field import receptive_field

__all__ = ["receptive_field"]
