"""Records become pictures; matplotlib is the extra ``viz``."""

from convscope.viz.arithmetic import arithmetic
from convscope.viz.attribution import attribution
from convscope.viz.equivariance import equivariance
from convscope.viz.field import unit_field
from convscope.viz.film import Film, Frame
from convscope.viz.filters import filters
from convscope.viz.growth import growth
from convscope.viz.health import health
from convscope.viz.maps import feature_maps
from convscope.viz.patches import top_patches
from convscope.viz.picture import Picture
from convscope.viz.race import race, roofline
from convscope.viz.receptive_field import receptive_field
from convscope.viz.report import save_attributions, save_comparison, save_report
from convscope.viz.structure import Diagram, structure
from convscope.viz.training_film import training_film
from convscope.viz.winners import pooling_winners

__all__ = [
    "Diagram",
    "Film",
    "Frame",
    "Picture",
    "arithmetic",
    "attribution",
    "equivariance",
    "feature_maps",
    "filters",
    "growth",
    "health",
    "pooling_winners",
    "race",
    "receptive_field",
    "roofline",
    "save_attributions",
    "save_comparison",
    "save_report",
    "structure",
    "top_patches",
    "training_film",
    "unit_field",
]
