"""The families of model that are no networks, by the field of Apple's `Model` message that holds their body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from requant.coreml.model import Model
from requant.runtime.features import Inputs, Outputs

Predict = Callable[[Inputs], Outputs]
Family = Callable[[Model], Predict]

FAMILIES: dict[str, Family] = {}

_ONLY_APPLE = "Apple's framework computes it, and what it computes is not published"
# Why a type of model can't be run, to be read after "a model of type X can't be run here: ".
REFUSED: dict[str, str] = {
    "audioFeaturePrint": f"the network is not in the file. {_ONLY_APPLE}",
    "bayesianProbitRegressor": "Apple's description leaves open how its outputs follow from its parameters",
    "customModel": "the code that computes it belongs to an app and is not in the file",
    "gazetteer": f"the file holds its data in a form of Apple's own. {_ONLY_APPLE}",
    "itemSimilarityRecommender": (
        "Apple's description leaves open in which order items of one score are recommended, and what an input without "
        "scores stands for"
    ),
    "linkedModel": "it only names another compiled model, which is not in the file",
    "serializedModel": f"the file holds it in a form of Apple's own. {_ONLY_APPLE}",
    "soundAnalysisPreprocessing": f"the file says only that there is one. {_ONLY_APPLE}",
    "textClassifier": f"the file holds its data in a form of Apple's own. {_ONLY_APPLE}",
    "visionFeaturePrint": f"the network is not in the file. {_ONLY_APPLE}",
    "wordEmbedding": f"the file holds its data in a form of Apple's own. {_ONLY_APPLE}",
    "wordTagger": f"the file holds its data in a form of Apple's own. {_ONLY_APPLE}",
}


def family(body: str) -> Callable[[Family], Family]:
    """Register what opens the models of a family; it gets the model and returns what predicts with it."""

    def register(function: Family) -> Family:
        FAMILIES[body] = function
        return function

    return register


def body_of(model: Model) -> Any:
    """Return the message that holds the body of a model, as `GLMRegressor`."""
    return getattr(model.spec, model.spec.WhichOneof("Type"))
