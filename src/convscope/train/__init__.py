"""Training, judging and keeping networks: recipe, loop, run folder, metrics."""

from typing import TYPE_CHECKING, Any

from convscope.train.embedding.features import features
from convscope.train.embedding.table import FeatureTable, feature_table
from convscope.train.judging.attribution import (
    PictureAttributions,
    attribute_files,
    class_of_folder,
)
from convscope.train.judging.inference import probabilities
from convscope.train.judging.metrics import Evaluation, FoldFigures, FoldScore
from convscope.train.judging.prediction import Failure, Prediction
from convscope.train.judging.uncertainty import wilson
from convscope.train.planning import Plan, new_network, plan
from convscope.train.recipe import Recipe
from convscope.train.recipes import RECIPES
from convscope.train.reporting.record import RunReport
from convscope.train.reporting.run_report import report
from convscope.train.run import Run
from convscope.train.spec import RunSpec
from convscope.train.training.batch_norm_statistics import recompute_statistics
from convscope.train.training.cross_validation import cross_validate
from convscope.train.training.film_keeper import FilmKeeper
from convscope.train.training.fitting import fit, more_epochs, resume
from convscope.train.training.learning_rate_search import RateSearch, find_rate
from convscope.train.training.running import require_fit
from convscope.train.verification import Verification, verify

if TYPE_CHECKING:
    from convscope.train.estimator import ConvClassifier

__all__ = [
    "RECIPES",
    "ConvClassifier",
    "Evaluation",
    "Failure",
    "FeatureTable",
    "FilmKeeper",
    "FoldFigures",
    "FoldScore",
    "PictureAttributions",
    "Plan",
    "Prediction",
    "RateSearch",
    "Recipe",
    "Run",
    "RunReport",
    "RunSpec",
    "Verification",
    "attribute_files",
    "class_of_folder",
    "cross_validate",
    "feature_table",
    "features",
    "find_rate",
    "fit",
    "more_epochs",
    "new_network",
    "plan",
    "probabilities",
    "recompute_statistics",
    "report",
    "require_fit",
    "resume",
    "verify",
    "wilson",
]


def __getattr__(name: str) -> Any:
    if name == "ConvClassifier":  # takes scikit-learn, a second of every start
        from convscope.train.estimator import ConvClassifier

        return ConvClassifier
    raise AttributeError(f"module 'convscope.train' has no attribute {name!r}")
