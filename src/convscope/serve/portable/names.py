"""Names of torch's operations, by what they do to their elements."""

MOVES = {
    "alias", "as_strided", "clone", "constant_pad_nd", "contiguous", "detach", "expand",
    "flip", "im2col", "index_select", "permute", "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "roll", "select",
    "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind",
    "unfold", "unsqueeze", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "view", "_reshape_alias", "_unsafe_view",
    "native_channel_shuffle", "channel_shuffle",
}  # fmt: skip
WEIGHTED = {
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "upsample_linear1d",
    "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
}  # fmt: skip
UNARY = {
    "abs", "celu", "clamp", "clamp_max", "clamp_min", "cos", "elu", "erf", "exp",
    "expm1", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "isinf", "leaky_relu", "log", "log1p", "log_sigmoid_forward", "mish", "neg",
    "reciprocal", "relu", "rsqrt", "sigmoid", "sign", "silu", "sin", "softplus",
    "softshrink", "sqrt", "square", "tanh", "threshold",
}  # fmt: skip
BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "rsub": "rsub",
    "maximum": "max", "minimum": "min", "pow": "pow", "_prelu_kernel": "prelu",
    "gt": "gt", "ge": "ge", "lt": "lt", "le": "le", "eq": "eq", "ne": "ne",
    "bitwise_and": "mul", "logical_and": "mul", "bitwise_or": "max",
    "logical_or": "max",
}  # fmt: skip
REDUCED = {"mean": "mean", "sum": "sum", "amax": "max", "amin": "min"}
