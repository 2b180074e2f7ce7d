"""Originals of frameworks that are extras, on their whole way; what is not installed is skipped."""

import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import yaml

from requant.originals import lock_original
from tests.workflow.project import REPOSITORY
from tests.workflow.test_sources import summary_of

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


def add_pytorch(project):
    path = project.folder / "models_original" / "digits_pytorch.pt2"
    shutil.copy(REPOSITORY / "models_original/digits_pytorch.pt2", path)
    lock_original(path)
    (project.folder / "config/data").mkdir()
    shutil.copy(REPOSITORY / "config/data/digits.npz", project.folder / "config/data")
    return yaml.safe_load((REPOSITORY / "config/pytorch.yaml").read_text())["models"]


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_the_framework_the_run_says_at_once_how_to_install_it(project):
    project.configure(**add_pytorch(project))
    run = project.snakemake()
    assert run.status != 0
    assert "models_original/digits_pytorch.pt2 needs PyTorch" in run.text
    assert "-m pip install --editable '.[torch]'" in run.text
    assert not (project.folder / "results/digits_pytorch/float").exists()


@needs_torch
def test_the_shipped_pytorch_original_goes_the_whole_way(project):
    models = add_pytorch(project)
    project.configure(**models)
    run = project.snakemake()
    assert run.status == 0, run.text
    table = summary_of(project, "digits_pytorch")
    assert table.loc["float", "source_db"] > 70
    assert table.loc["float", "source_agreement"] == 1
    assert table.loc["float", "accuracy"] == pytest.approx(0.989, abs=0.001)
    before = project.digests()
    shutil.rmtree(project.folder / "results")
    assert project.snakemake("variants").status == 0
    assert project.digests() == before


def save_skops(path):
    import skops.io
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flowers = load_iris()
    names = flowers.target_names[flowers.target]
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(flowers.data, names), path)


def save_xgboost(path):
    import xgboost

    random = np.random.default_rng(3)
    columns = random.standard_normal((200, 4))
    data = xgboost.DMatrix(columns, columns[:, 0] * 3 + columns[:, 1])
    xgboost.train({"max_depth": 3}, data, 8).save_model(path)


def save_keras(path):
    import keras

    keras.utils.set_random_seed(5)
    features = keras.Input((16,), name="features")
    scores = keras.layers.Dense(10, name="scores")(keras.layers.Dense(256, activation="relu")(features))
    keras.Model(features, scores).save(path)


@pytest.mark.parametrize(
    ("name", "save", "module", "framework"),
    [
        ("flowers.skops", save_skops, "skops", "scikit-learn"),
        ("numbers.ubj", save_xgboost, "xgboost", "XGBoost"),
        ("dense.keras", save_keras, "keras", "TensorFlow"),
    ],
)
def test_originals_of_other_frameworks_go_the_whole_way(project, name, save, module, framework):
    if find_spec(module) is None:
        pytest.skip(f"{framework} is not installed")
    path = project.folder / "models_original" / name
    save(path)
    lock_original(path)
    entry = {"original": f"models_original/{name}"}
    project.configure(**{path.stem: entry | ({"modes": {"kmeans": [4]}} if module == "keras" else {})})
    run = project.snakemake()
    assert run.status == 0, run.text
    table = summary_of(project, path.stem)
    assert list(table.index) == (["float", "kmeans_4"] if module == "keras" else ["float"])
    assert table.loc["float", "source_db"] > 45
    page = (project.folder / "results/report/index.html").read_text()
    assert f"against {framework}" in page or f"equal to {framework}" in page
    assert ("Nothing to quantize" in page) == (module != "keras")
