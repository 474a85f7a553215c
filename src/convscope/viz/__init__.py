"""Records become pictures; matplotlib is the extra ``viz``."""

from convscope.viz.race import race, roofline
from convscope.viz.receptive_field import receptive_field

__all__ = ["race", "receptive_field", "roofline"]
