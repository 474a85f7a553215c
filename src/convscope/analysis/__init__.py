"""What a network is before it has weights, and what it does once it has them."""

from convscope.analysis.attribution.attribute import attribute
from convscope.analysis.attribution.record import Attribution, Trust
from convscope.analysis.capturing.capture import capture
from convscope.analysis.capturing.record import Capture, Captured
from convscope.analysis.checking.check import check
from convscope.analysis.explaining.convolution_steps import (
    ConvolutionSteps,
    Step,
    convolution_steps,
)
from convscope.analysis.explaining.explain_gradient import explain_gradient
from convscope.analysis.explaining.explain_unit import UnitExplainer, explain_unit
from convscope.analysis.explaining.gradient_record import (
    GradientExplanation,
    GradientPart,
)
from convscope.analysis.explaining.record import UnitExplanation
from convscope.analysis.probes.batch_statistics import (
    LayerStatistics,
    StatisticsReport,
    compare_statistics,
)
from convscope.analysis.probes.cones import Region, UnitCones, unit_cones
from convscope.analysis.probes.effective import (
    EffectiveField,
    effective_receptive_field,
)
from convscope.analysis.probes.equivariance import (
    Equivariance,
    LayerShift,
    equivariance,
)
from convscope.analysis.probes.field import FieldStep, UnitField, unit_field
from convscope.analysis.probes.filters import Filters, filters, templates
from convscope.analysis.probes.health import (
    Health,
    LayerHealth,
    NormHealth,
    WeightHealth,
    health,
)
from convscope.analysis.probes.maps import FeatureMaps, LayerMaps, feature_maps
from convscope.analysis.probes.maximization import Maximized, maximize
from convscope.analysis.probes.patches import Patch, Patches, top_patches
from convscope.analysis.probes.winners import PoolingWinners, pooling_winners
from convscope.analysis.records import AxisField, Inexact, Row
from convscope.analysis.render import Summary, versus
from convscope.analysis.structure import (
    Block,
    GraphNode,
    NetworkGraph,
    network_graph,
)
from convscope.analysis.summary import exact_ranges, summary

__all__ = [
    "Attribution",
    "AxisField",
    "Block",
    "Capture",
    "Captured",
    "ConvolutionSteps",
    "EffectiveField",
    "Equivariance",
    "FeatureMaps",
    "FieldStep",
    "Filters",
    "GradientExplanation",
    "GradientPart",
    "GraphNode",
    "Health",
    "Inexact",
    "LayerHealth",
    "LayerMaps",
    "LayerShift",
    "LayerStatistics",
    "Maximized",
    "NetworkGraph",
    "NormHealth",
    "Patch",
    "Patches",
    "PoolingWinners",
    "Region",
    "Row",
    "StatisticsReport",
    "Step",
    "Summary",
    "Trust",
    "UnitCones",
    "UnitExplainer",
    "UnitExplanation",
    "UnitField",
    "WeightHealth",
    "attribute",
    "capture",
    "check",
    "compare_statistics",
    "convolution_steps",
    "effective_receptive_field",
    "equivariance",
    "exact_ranges",
    "explain_gradient",
    "explain_unit",
    "feature_maps",
    "filters",
    "health",
    "maximize",
    "network_graph",
    "pooling_winners",
    "summary",
    "templates",
    "top_patches",
    "unit_cones",
    "unit_field",
    "versus",
]
