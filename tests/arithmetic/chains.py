"""Random chains of layers along one axis, for hypothesis."""

from fractions import Fraction

from hypothesis import strategies as st

from convscope.arithmetic import Adaptive, Transposed, Upsample, Window

pads = st.tuples(st.integers(0, 3), st.integers(0, 3))

windows = st.builds(
    Window,
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=pads,
    dilation=st.integers(1, 2),
)
transposed = st.builds(
    Transposed,
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
)
upsamples = st.builds(
    Upsample,
    scale=st.sampled_from([2, 3, Fraction(3, 2), Fraction(1, 2)]),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
)
adaptives = st.builds(Adaptive, outputs=st.integers(1, 6))
chains = st.lists(st.one_of(windows, windows, transposed, upsamples), max_size=3)
