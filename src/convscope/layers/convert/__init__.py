"""Between convolution and fully connected, with the same outputs.

``linear.py``          ``to_linear(conv, input_size)``: one layer as a dense matrix
``convolutional.py``   ``to_convolutional(net, input_size)``: a classifier that slides
``by_layer.py``        its pass over the network: each layer gives its successor
``by_operation.py``    what it does with a forward that no rule for layers knows
"""

from convscope.layers.convert.convolutional import to_convolutional
from convscope.layers.convert.linear import to_linear

__all__ = ["to_convolutional", "to_linear"]
