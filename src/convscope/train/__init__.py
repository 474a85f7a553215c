"""Training, judging and keeping networks: recipe, loop, run folder, metrics."""

from convscope.train.doubt import wilson
from convscope.train.estimator import ConvClassifier
from convscope.train.fitting import fit, new_network, require_fit, resume
from convscope.train.inference import probabilities
from convscope.train.metrics import Evaluation
from convscope.train.prediction import Failure, Prediction
from convscope.train.rate_finder import RateSearch, find_rate
from convscope.train.recipe import Recipe
from convscope.train.recipes import RECIPES
from convscope.train.run import Run
from convscope.train.spec import RunSpec

__all__ = [
    "RECIPES",
    "ConvClassifier",
    "Evaluation",
    "Failure",
    "Prediction",
    "RateSearch",
    "Recipe",
    "Run",
    "RunSpec",
    "find_rate",
    "fit",
    "new_network",
    "probabilities",
    "require_fit",
    "resume",
    "wilson",
]
