"""Our own code for the CPU behind one door, and the plain loops that it must equal."""

from convscope.kernels.activation import Activation
from convscope.kernels.chain import apply_stages, stages
from convscope.kernels.library import (
    available,
    instruction_set,
    sets,
    warn_if_missing,
    why_not,
)
from convscope.kernels.stage_plan import StagePlan, numbers_of
from convscope.kernels.step import ChainStep

__all__ = [
    "Activation",
    "ChainStep",
    "StagePlan",
    "apply_stages",
    "available",
    "instruction_set",
    "numbers_of",
    "sets",
    "stages",
    "warn_if_missing",
    "why_not",
]
