"""Integers in, integers out: sizes, windows, padding, costs, receptive fields.

One home for each fact: layers, summaries, error messages, animations and the page
take every number from here. Lengths are in elements, one axis at a time unless a
name says otherwise.

=====================  ========================================================
`shapes`               output sizes of convolution, pooling, transposed convolution
`padding`              paddings by name and by number
`borders`              which element stands in for one beyond the border
`windows`              which input element lies under which tap
`chain`                a layer as it acts along one axis
`receptive_field`      what an output sees, far from borders and exactly
`inverse`              which sizes, paddings, strides and depths do what is wanted
`layer_fit`, `fixes`   sentences and values for messages
`places`               elements along an axis, and what they are connected to
`costs`                parameters, multiply-adds, bytes
`connectivity`         fully, locally and convolutionally connected, compared
=====================  ========================================================
"""

from convscope.arithmetic.axis import (
    EndsLike,
    PerAxis,
    both_ends,
    kernel_span,
    per_axis,
    require,
)
from convscope.arithmetic.borders import (
    BORDER_MODES,
    PADDING_MODES,
    BorderMode,
    PaddingMode,
    border_element,
)
from convscope.arithmetic.chain import (
    Adaptive,
    AxisLayer,
    Bordered,
    Pattern,
    Transposed,
    Upsample,
    Window,
    chain_sizes,
)
from convscope.arithmetic.connectivity import (
    Connectivity,
    compare_connectivity,
    convolutional_weights,
    fully_connected_weights,
    locally_connected_weights,
)
from convscope.arithmetic.costs import (
    convolution_multiply_adds,
    convolution_parameters,
    inference_activation_bytes,
    linear_multiply_adds,
    linear_parameters,
    norm_buffers,
    norm_parameters,
    require_groups,
    training_activation_bytes,
    weight_bytes,
)
from convscope.arithmetic.fixes import Fixes, nearest_fixes
from convscope.arithmetic.inverse import (
    ExactFixes,
    Sizes,
    exact_fixes,
    fitting_sizes,
    ignored_elements,
    layers_to_cover,
    padding_for,
    padding_that_keeps,
    possible_strides,
)
from convscope.arithmetic.layer_fit import explain_fit
from convscope.arithmetic.padding import (
    PADDING_NAMES,
    AxisPadding,
    PaddingLike,
    PaddingName,
    parse_padding,
    resolve_padding,
    resolve_paddings,
    resolve_transposed_padding,
)
from convscope.arithmetic.places import Passage, Places, places_of
from convscope.arithmetic.receptive_field import (
    Range,
    ReceptiveField,
    identity_ranges,
    input_range,
    ranges_through,
    receptive_field,
    union_ranges,
)
from convscope.arithmetic.shapes import (
    CeilMode,
    axis_name,
    output_shape,
    output_size,
    transposed_output_shape,
    transposed_output_size,
)
from convscope.arithmetic.windows import (
    ResizeMode,
    Table,
    adaptive_windows,
    resize_windows,
    transposed_windows,
    windows,
)

__all__ = [
    "BORDER_MODES",
    "PADDING_MODES",
    "PADDING_NAMES",
    "Adaptive",
    "AxisLayer",
    "AxisPadding",
    "BorderMode",
    "Bordered",
    "CeilMode",
    "Connectivity",
    "EndsLike",
    "ExactFixes",
    "Fixes",
    "PaddingLike",
    "PaddingMode",
    "PaddingName",
    "Passage",
    "Pattern",
    "PerAxis",
    "Places",
    "Range",
    "ReceptiveField",
    "ResizeMode",
    "Sizes",
    "Table",
    "Transposed",
    "Upsample",
    "Window",
    "adaptive_windows",
    "axis_name",
    "border_element",
    "both_ends",
    "chain_sizes",
    "compare_connectivity",
    "convolution_multiply_adds",
    "convolution_parameters",
    "convolutional_weights",
    "exact_fixes",
    "explain_fit",
    "fitting_sizes",
    "fully_connected_weights",
    "identity_ranges",
    "ignored_elements",
    "inference_activation_bytes",
    "input_range",
    "kernel_span",
    "layers_to_cover",
    "linear_multiply_adds",
    "linear_parameters",
    "locally_connected_weights",
    "nearest_fixes",
    "norm_buffers",
    "norm_parameters",
    "output_shape",
    "output_size",
    "padding_for",
    "padding_that_keeps",
    "parse_padding",
    "per_axis",
    "places_of",
    "possible_strides",
    "ranges_through",
    "receptive_field",
    "require",
    "require_groups",
    "resize_windows",
    "resolve_padding",
    "resolve_paddings",
    "resolve_transposed_padding",
    "training_activation_bytes",
    "transposed_output_shape",
    "transposed_output_size",
    "transposed_windows",
    "union_ranges",
    "weight_bytes",
    "windows",
]
