from pathlib import Path

import pytest
import yaml

from requant.configuration import read_models, require_scheme, require_unique_keys, require_valid
from requant.coreml.kind import Kind
from requant.coreml.model import save
from requant.errors import RequantError
from requant.originals import lock_original
from requant.quantize.scheme import SCHEMES, Scheme
from requant.quantize.selection import Rule, Selection
from tests.coreml.joining import joined, scaler

REPOSITORY = Path(__file__).parents[1]
SCHEMA = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
NETWORK = "models_original/starry_night.mlmodel"
PROGRAM = "models_original/digits.mlpackage"


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def read(**models):
    config = {"models": models}
    require_valid(config, SCHEMA)
    return read_models(config)


def test_the_shipped_configuration_is_valid():
    require_unique_keys(REPOSITORY / "config/config.yaml")
    models = read(**yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())["models"])
    assert models["starry_night"].kind is Kind.NEURAL_NETWORK
    assert models["digits"].kind is Kind.ML_PROGRAM


def test_without_modes_a_model_gets_all_that_its_kind_can_store():
    schemes = read(mine={"original": PROGRAM})["mine"].schemes
    left_out = ("custom_lut", "unique")
    wanted = {(m, b) for m, bits in SCHEMES[Kind.ML_PROGRAM].items() for b in bits if m not in left_out}
    assert {(scheme.mode, scheme.bits) for scheme in schemes} == wanted


def test_a_function_adds_its_mode():
    function = "config/lookup_tables/panter_dite.py:panter_dite"
    modes = {scheme.mode for scheme in read(mine={"original": NETWORK, "custom_lut": function})["mine"].schemes}
    assert "custom_lut" in modes


def test_all_stands_for_the_bits_of_the_kind_and_lists_are_ordered():
    models = read(
        network={"original": NETWORK, "modes": {"linear": "all", "kmeans": [2, 8]}},
        program={"original": PROGRAM, "modes": {"linear": "all"}},
    )
    assert [s.bits for s in models["network"].schemes] == [16, 8, 7, 6, 5, 4, 3, 2, 1, 8, 2]
    assert [s.bits for s in models["program"].schemes] == [16, 8, 4]


def test_schemes_are_named_instead_of_modes_or_besides_them():
    alone = read(mine={"original": PROGRAM, "schemes": ["kmeans_4_group16", "prune_50"]})["mine"]
    assert [str(scheme) for scheme in alone.schemes] == ["kmeans_4_group16", "prune_50"]
    both = read(mine={"original": PROGRAM, "modes": {"kmeans": [8]}, "schemes": ["kmeans_4_group16", "kmeans_8"]})[
        "mine"
    ]
    assert [str(scheme) for scheme in both.schemes] == ["kmeans_8", "kmeans_4_group16"]


def test_all_leaves_out_what_the_deployment_target_can_not_run():
    names = [str(s) for s in read(mine={"original": PROGRAM, "deployment_target": "macOS13"})["mine"].schemes]
    assert "linear_8" in names
    assert not {"linear_4", "kmeans_3", "linear_symmetric_4"} & set(names)
    assert read(mine={"original": PROGRAM, "deployment_target": "iOS15"})["mine"].schemes == ()


def test_the_table_of_tensors_is_read():
    entry = {
        "original": PROGRAM, "tensors": [{"store": 8, "type": "conv"}, {"store": "untouched", "schemes": ["kmeans*"]}],
        "weight_threshold": 100, "unstorable": "float16",
    }  # fmt: skip
    selection = read(mine=entry)["mine"].selection
    assert selection == Selection(
        (Rule("8", type="conv"), Rule("untouched", schemes=("kmeans*",))), weight_threshold=100, unstorable="float16"
    )


def test_a_package_has_all_its_files_as_locked_files():
    files = read(mine={"original": PROGRAM})["mine"].locked_files
    assert {f.name for f in files} == {"Manifest.json", "model.mlmodel", "weight.bin"}


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, r"models: .*"),
        ({"mine": {}}, "models.mine: the key 'original' is missing"),
        ({"mine": {"original": NETWORK, "bits": 4}}, "models.mine: unknown key 'bits'; known are original, data"),
        ({"mine": {"original": NETWORK, "modes": {"k-means": [4]}}}, "models.mine.modes: unknown key 'k-means'"),
        ({"mine": {"original": NETWORK, "modes": {"kmeans": [9]}}}, "models.mine.modes.kmeans: .* list of bit widths"),
        ({"mine": {"original": NETWORK, "modes": {"kmeans": []}}}, "models.mine.modes.kmeans"),
        (
            {"mine": {"original": NETWORK, "modes": "kmeans"}},
            "models.mine.modes: 'kmeans' is neither a table .* nor one of the words all and none",
        ),
        (
            {"mine": {"original": NETWORK, "modes": "none", "schemes": ["kmeans_4"]}},
            "mine: modes: none wants no variants, but schemes names some",
        ),
        ({"mine": {"original": NETWORK, "modes": {"kmeans": [4, 4]}}}, "models.mine.modes.kmeans"),
        ({"my model": {"original": NETWORK}}, "'my model' does not fit a file name"),
        ({"../mine": {"original": NETWORK}}, "does not fit a file name"),
        ({"mine": {"original": NETWORK, "targets": {"min_psrn": 30}}}, "unknown key 'min_psrn'; known are min_psnr"),
        ({"mine": {"original": NETWORK, "targets": {"min_psnr": "high"}}}, "models.mine.targets.min_psnr"),
        ({"mine": {"original": NETWORK, "targets": {"min_accuracy": 98}}}, "models.mine.targets.min_accuracy"),
        ({"report": {"original": NETWORK}}, "this name is taken"),
        ({"Mine": {"original": NETWORK}, "mine": {"original": NETWORK}}, "do not tell upper from lower case"),
        ({"mine": {"original": PROGRAM, "modes": {"linear": [7]}}}, "ML Program has no linear at 7 bits"),
        ({"mine": {"original": NETWORK, "modes": {"linear_symmetric": [4]}}}, "has no linear_symmetric at 4 bits"),
        (
            {"mine": {"original": NETWORK, "schemes": ["kmeans_4_group16"]}},
            "mine: .*can't store kmeans_4_group16",
        ),
        ({"mine": {"original": PROGRAM, "schemes": ["kmeans_5"]}}, "ML Program has no kmeans at 5 bits"),
        ({"mine": {"original": PROGRAM, "schemes": ["kmeans"]}}, "'kmeans' is not the name of a scheme"),
        ({"mine": {"original": PROGRAM, "schemes": []}}, "models.mine.schemes"),
        ({"mine": {"original": PROGRAM, "schemes": ["custom_lut_4"]}}, "wants a function of yours"),
        (
            {"mine": {"original": PROGRAM, "tensors": [{"name": "a"}]}},
            "tensors.0: the key 'store' is missing",
        ),
        (
            {"mine": {"original": PROGRAM, "tensors": [{"store": "little"}]}},
            "rule 1 of .*'little' is not",
        ),
        (
            {"mine": {"original": PROGRAM, "tensors": [{"store": 8, "layer": "a"}]}},
            "unknown key 'layer'; known",
        ),
        ({"mine": {"original": PROGRAM, "unstorable": "drop"}}, "models.mine.unstorable"),
        (
            {"mine": {"original": PROGRAM, "deployment_target": "iOS19"}},
            "no deployment target. There are iOS11",
        ),
        (
            {"mine": {"original": PROGRAM, "schemes": ["kmeans_4_group16"], "deployment_target": "iOS17"}},
            "kmeans_4_group16 needs iOS 18, macOS 15, but deployment_target is iOS 17, macOS 14. Leave the scheme out",
        ),
        (
            {
                "mine": {
                    "original": PROGRAM,
                    "schemes": ["kmeans_4"],
                    "deployment_target": "iOS16",
                    "tensors": [{"store": "linear_4"}],
                }
            },
            "kmeans_4 needs iOS 18",
        ),
        ({"mine": {"original": NETWORK, "modes": {"custom_lut": [4]}}}, "wants a function of yours"),
        ({"mine": {"original": NETWORK, "custom_lut": "nowhere.py:f"}}, "nowhere.py, which does not exist"),
        ({"mine": {"original": NETWORK, "custom_lut": "quantiles"}}, "Write file.py:function"),
        ({"mine": {"original": NETWORK, "data": "nowhere"}}, "evaluation data nowhere does not exist"),
        ({"mine": {"original": NETWORK, "data": 3}}, "models.mine.data: 3 is not of type"),
        ({"mine": {"original": NETWORK, "data": "README.md"}}, "README.md is neither a folder of pictures"),
        (
            {"mine": {"original": NETWORK, "data": {"paths": "a"}}},
            "models.mine.data: unknown key 'paths'; known are path",
        ),
        ({"mine": {"original": NETWORK, "data": {"path": "a", "samples": 0}}}, "models.mine.data.samples: 0 is less"),
        (
            {"mine": {"original": NETWORK, "data": {"path": "a", "size": 3}}},
            "models.mine.data.size: 'keep' was expected",
        ),
        (
            {"mine": {"original": NETWORK, "data": {"path": "config", "loader": "a.py:f"}}},
            "models.mine: data: path and loader contradict each other; give one of them",
        ),
        (
            {"mine": {"original": NETWORK, "data": {"path": "config/data/digits.npz", "hop": 3}}},
            "models.mine: data: hop can't be given for config/data/digits.npz, only samples, seed",
        ),
        (
            {"mine": {"original": NETWORK, "data": {"loader": "nowhere.py:f"}}},
            "evaluation data nowhere.py does not exist",
        ),
        (
            {"mine": {"original": NETWORK, "data": {"loader": "setup", "files": ["a"]}}},
            "Write file.py:function",
        ),
        ({"mine": {"original": "models_original/nothing.mlmodel"}}, "nothing.mlmodel does not exist"),
        ({"mine": {"original": "models_original/README.md"}}, "is not locked"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(models, message):
    with pytest.raises(RequantError, match=message):
        read(**models)


@pytest.fixture
def trees(tmp_path):
    """Return an original with nothing to quantize."""
    path = tmp_path / "trees.mlmodel"
    save(joined([scaler()]), path)
    lock_original(path)
    return str(path)


def test_a_model_with_nothing_to_quantize_has_no_variants_and_is_run_only_on_data(trees):
    defaults = {
        "modes": "none",
        "custom_lut": None,
        "unstorable": "untouched",
        "beyond_float16": "float32",
        "targets": {},
    }
    for entry in ({}, {"modes": "none"}, {**defaults, "deployment_target": None, "tensors": []}):
        model = read(mine={"original": trees, **entry})["mine"]
        assert (model.kind, model.quantizable, model.schemes, model.is_run) == (Kind.OTHER, False, (), False)
    assert read(mine={"original": trees, "data": "config/data/digits.npz"})["mine"].is_run
    assert not read(mine={"original": trees, "data": {"samples": 20}})["mine"].is_run


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        ({"modes": "all"}, "modes"),
        ({"modes": {"kmeans": [4]}, "schemes": ["kmeans_4"]}, "modes, schemes"),
        ({"tensors": [{"store": 8}], "weight_threshold": 0}, "tensors, weight_threshold"),
        ({"unstorable": "float16", "beyond_float16": "refuse"}, "unstorable, beyond_float16"),
        ({"deployment_target": "iOS16", "custom_lut": "a.py:f"}, "deployment_target, custom_lut"),
        ({"targets": {"min_snr": 30}}, "targets"),
    ],
)
def test_what_can_be_for_no_variant_is_named(trees, entry, keys):
    with pytest.raises(RequantError, match=rf"models.mine: .*trees.mlmodel has no weights .*: {keys}\. Leave them out"):
        read(mine={"original": trees, **entry})


def test_a_variant_of_a_model_with_nothing_to_quantize_is_refused(trees):
    with pytest.raises(RequantError, match=r"trees.mlmodel has no weights that could be quantized; ship it as it is"):
        require_scheme(Scheme.parse("prune_50"), read(mine={"original": trees})["mine"])


def test_none_leaves_a_model_without_variants_unless_they_are_asked_for_by_name():
    model = read(mine={"original": PROGRAM, "modes": "none", "targets": {"min_snr": 30}})["mine"]
    assert (model.quantizable, model.is_run, model.schemes) == (True, True, ())
    require_scheme(Scheme.parse("kmeans_4"), model)


METRICS = {"sharp": "config/lookup_tables/panter_dite.py:panter_dite"}


def test_metrics_of_the_users_and_targets_for_them_are_read():
    entry = {"original": PROGRAM, "metrics": METRICS, "targets": {"min_metric_sharp": -1.5, "max_size": 3}}
    model = read(mine=entry)["mine"]
    assert model.metrics == METRICS
    assert model.metric_files == (Path("config/lookup_tables/panter_dite.py"),)
    assert model.targets == {"min_metric_sharp": -1.5, "max_size": 3}
    assert read(mine={"original": PROGRAM})["mine"].metric_files == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"metrics": {"Sharp": "a.py:f"}}, "'Sharp' is no name of a metric: use small letters"),
        ({"metrics": {"sharp_low": "a.py:f"}}, "do not end with _low or _high"),
        ({"metrics": {"sharp": "nowhere.py:f"}}, "metrics.sharp names nowhere.py, which does not exist"),
        ({"metrics": {"sharp": "sharpness"}}, "Write file.py:function"),
        ({"metrics": METRICS, "targets": {"min_metric_blur": 1}}, "about the metric 'blur', but .* has sharp"),
        ({"targets": {"max_metric_sharp": 1}}, "about the metric 'sharp', but the key metrics has none"),
        ({"targets": {"min_metric_sharp": "high"}}, "models.mine.targets.min_metric_sharp"),
        ({"metrics": METRICS, "targets": {"min_metric_sharp": 1, "max_psnr": 1}}, "unknown key 'max_psnr'; known"),
        ({"targets": {"max_size": 0}}, "models.mine.targets.max_size"),
    ],
)
def test_what_is_wrong_with_a_metric_or_its_target_is_named(entry, message):
    with pytest.raises(RequantError, match=message):
        read(mine={"original": PROGRAM, **entry})


def test_metrics_of_a_model_that_is_not_run_are_refused(trees):
    with pytest.raises(RequantError, match=r"run only on data. Set data"):
        read(mine={"original": trees, "metrics": METRICS})


def test_all_problems_of_a_configuration_are_told_at_once():
    with pytest.raises(RequantError) as told:
        read(first={"bits": 4}, second={"original": NETWORK, "modez": {}})
    assert "models.first" in str(told.value)
    assert "models.second" in str(told.value)


def test_a_model_that_stands_twice_is_found(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("models:\n  mine:\n    original: a.mlmodel\n  mine:\n    original: b.mlmodel\n")
    with pytest.raises(RequantError, match=r"line 2: 'mine' is there twice"):
        require_unique_keys(path)


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("models: [\n")
    with pytest.raises(RequantError, match=r"config.yaml is not valid YAML"):
        require_unique_keys(path)


def test_every_key_is_explained():
    text = (REPOSITORY / "config/README.md").read_text()
    entry = SCHEMA["properties"]["models"]["additionalProperties"]["properties"]
    for key in [
        *entry,
        *entry["targets"]["properties"],
        *entry["modes"]["then"]["properties"],
        *entry["tensors"]["items"]["properties"],
        *entry["conversion"]["properties"],
        *entry["data"]["properties"],
        *entry["conversion"]["properties"]["inputs"]["items"]["properties"],
    ]:
        assert f"`{key}`" in text


def test_a_model_that_is_not_to_be_run_is_judged_by_its_weights():
    model = read(mine={"original": PROGRAM, "data": "none"})["mine"]
    assert model.judged_by_weights
    assert model.schemes
    assert not model.is_run
    assert read(mine={"original": PROGRAM})["mine"].is_run


@pytest.mark.parametrize(
    ("key", "value"), [("sensitivity", {"families": ["kmeans"]}), ("metrics", {"blur": "tests/building.py:network"})]
)
def test_what_wants_a_model_run_that_is_not_to_be_is_refused(key, value):
    with pytest.raises(RequantError, match="data: none keeps the model from being run"):
        read(mine={"original": PROGRAM, "data": "none", key: value})
