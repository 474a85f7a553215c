"""Every operation and its gradients as plain loops: the definition of each.

Written to be read and to be trusted, not to be fast: float64, NumPy, one loop over the
windows, the formula above the code that computes it. Everything faster is held to
these functions by the tests.

Each operation is a pair. ``..._forward`` gives the output, and with it what the way
back needs that it was not given itself (winners, statistics, divisors).
``..._backward`` takes the gradient of the loss for the output first, and gives those
for the inputs, in the order in which the forward pass took them. Arrays have the axes
``(N, C, spatial...)``, with any number of spatial axes.

==================  =========================================================
`convolution`       correlation, and convolution, which flips the kernel
`transposed`        transposed convolution
`partial`           partial convolution, of padding and of data with holes
`padding`           what stands around an image
`local`             locally connected
`linear`            fully connected
`max_pooling`       the winner takes all; unpooling
`sum_pooling`       average, Lp, LeNet-5's trainable subsampling
`adaptive`          pooling to a wanted size, and global pooling
`activations`       sigmoid, tanh, ReLU, absolute value, GELU, gain
`batch_norm`        in training and in evaluation
`contrast`          local contrast normalization, subtractive and divisive
`response`          local response normalization
`loss`              softmax with cross-entropy
`update`            gradient descent with momentum and weight decay
`windows`           the loop that all of them share
==================  =========================================================

>>> import numpy as np
>>> image = np.array([[[[0, 80, 40], [20, 40, 0], [0, 0, 40]]]])
>>> kernel = np.array([[[[0, 0.25], [0.5, 1]]]])
>>> convolution_forward(image, kernel).tolist()
[[[[45.0, 110.0], [40.0, 40.0]]]]
"""

from convscope.kernels.reference.activations import (
    absolute_backward,
    absolute_forward,
    gain_backward,
    gain_forward,
    gelu_backward,
    gelu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from convscope.kernels.reference.adaptive import (
    adaptive_average_backward,
    adaptive_average_forward,
    adaptive_max_forward,
)
from convscope.kernels.reference.batch_norm import (
    BatchStatistics,
    batch_norm_backward,
    batch_norm_evaluation_backward,
    batch_norm_evaluation_forward,
    batch_norm_forward,
    running_statistics_update,
)
from convscope.kernels.reference.contrast import (
    divisive_backward,
    divisive_forward,
    gaussian_window,
    subtractive_backward,
    subtractive_forward,
)
from convscope.kernels.reference.convolution import (
    convolution_backward,
    convolution_forward,
    correlation_backward,
    correlation_forward,
)
from convscope.kernels.reference.linear import (
    fully_connected_backward,
    fully_connected_forward,
)
from convscope.kernels.reference.local import (
    locally_connected_backward,
    locally_connected_forward,
)
from convscope.kernels.reference.loss import (
    cross_entropy_backward,
    cross_entropy_forward,
    softmax,
)
from convscope.kernels.reference.max_pooling import (
    max_pooling_backward,
    max_pooling_forward,
    max_unpooling_backward,
    max_unpooling_forward,
)
from convscope.kernels.reference.padding import pad_backward, pad_forward
from convscope.kernels.reference.partial import (
    partial_convolution_backward,
    partial_convolution_forward,
)
from convscope.kernels.reference.response import (
    local_response_backward,
    local_response_forward,
)
from convscope.kernels.reference.sum_pooling import (
    average_pooling_backward,
    average_pooling_forward,
    lp_pooling_backward,
    lp_pooling_forward,
    subsampling_backward,
    subsampling_forward,
)
from convscope.kernels.reference.transposed import (
    transposed_convolution_backward,
    transposed_convolution_forward,
)
from convscope.kernels.reference.update import gradient_descent_update
from convscope.kernels.reference.windows import each_transposed_window, each_window

__all__ = [
    "BatchStatistics",
    "absolute_backward",
    "absolute_forward",
    "adaptive_average_backward",
    "adaptive_average_forward",
    "adaptive_max_forward",
    "average_pooling_backward",
    "average_pooling_forward",
    "batch_norm_backward",
    "batch_norm_evaluation_backward",
    "batch_norm_evaluation_forward",
    "batch_norm_forward",
    "convolution_backward",
    "convolution_forward",
    "correlation_backward",
    "correlation_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "divisive_backward",
    "divisive_forward",
    "each_transposed_window",
    "each_window",
    "fully_connected_backward",
    "fully_connected_forward",
    "gain_backward",
    "gain_forward",
    "gaussian_window",
    "gelu_backward",
    "gelu_forward",
    "gradient_descent_update",
    "local_response_backward",
    "local_response_forward",
    "locally_connected_backward",
    "locally_connected_forward",
    "lp_pooling_backward",
    "lp_pooling_forward",
    "max_pooling_backward",
    "max_pooling_forward",
    "max_unpooling_backward",
    "max_unpooling_forward",
    "pad_backward",
    "pad_forward",
    "partial_convolution_backward",
    "partial_convolution_forward",
    "relu_backward",
    "relu_forward",
    "running_statistics_update",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax",
    "subsampling_backward",
    "subsampling_forward",
    "subtractive_backward",
    "subtractive_forward",
    "tanh_backward",
    "tanh_forward",
    "transposed_convolution_backward",
    "transposed_convolution_forward",
]
