"""Our own code for the CPU behind one door, and the plain loops that it must equal."""

from convscope.kernels.chain import apply_stages, stages
from convscope.kernels.library import available, instruction_set, sets, why_not
from convscope.kernels.stage_plan import Activation, StagePlan, numbers_of
from convscope.kernels.step import ChainStep
from convscope.kernels.update import adamw, sgd

__all__ = [
    "Activation",
    "ChainStep",
    "StagePlan",
    "adamw",
    "apply_stages",
    "available",
    "instruction_set",
    "numbers_of",
    "sets",
    "sgd",
    "stages",
    "why_not",
]
