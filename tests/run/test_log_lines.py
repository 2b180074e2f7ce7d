"""What logs say, from the records of a real variant and from what other jobs write."""

from requant.coreml.model import save
from requant.progress import amount
from requant.quantize.scheme import Scheme
from requant.quantize.selection import Rule, Selection
from requant.quantize.variant import make_variant
from requant.run.log_lines import described, evaluated, raised, stored, verified
from tests.workflow.project import picture_network


def test_a_variant_is_told_with_what_did_not_take_its_scheme(tmp_path):
    float_model, output = tmp_path / "float.mlmodel", tmp_path / "small.mlmodel"
    save(picture_network(), float_model)
    audit = make_variant(
        float_model, Scheme.parse("linear_4"), output, selection=Selection((Rule("untouched", "conv0*"),))
    )
    first, *others = stored(audit, output).splitlines()
    assert first.startswith(f"{output}: {' '.join(amount(output.stat().st_size))}, ")
    assert "bits per weight, weight SNR " in first
    assert first.endswith("from iOS 12, macOS 10.14")
    assert others[0] == "1 of 3 tensors did not take linear_4:"
    assert others[1].startswith("  conv0.weights: float32; ")
    assert len(others) == 2


def test_a_model_without_weights_is_told_without_bits(tmp_path):
    path = tmp_path / "trees.mlmodel"
    path.write_bytes(b"12345")
    audit = {
        "scheme": "float", "bits_per_weight": None, "weight_snr_db": None, "ios": "11", "macos": "10.13", "tensors": [],
    }  # fmt: skip
    assert stored(audit, path) == f"{path}: 5 bytes, from iOS 11, macOS 10.13"


def test_each_output_is_told_by_its_figures():
    outputs = {"label": {"agreement": 0.984, "accuracy": 1.0}, "painted": {"psnr_db": None, "max_error": 0.0}, "x": {}}
    evaluation = {"file": "m.mlmodel", "bytes": 1000, "ratio": 3.96, "outputs": outputs}
    assert evaluated(evaluation).splitlines() == [
        "m.mlmodel: 1,000 bytes, 4.0 times smaller",
        "  label: agreement 98.4%, accuracy 100.0%",
        "  painted: PSNR infinite (equal), max error 0",
        "  x: no figures",
    ]


def test_originals_data_and_proofs_are_told():
    original = {"original": "o/m.mlmodel", "bytes": 26222, "sha256": {"m.mlmodel": "0"}}
    assert verified(original) == "o/m.mlmodel: 1 file, 0.03 MB, as locked"
    assert described({"description": "2 pictures in p", "sha256": {"a": "0", "b": "1"}}) == "2 pictures in p, 2 files"
    proof = {"from_ios": "15", "ios": "18", "equal": True, "samples": 1}
    assert raised(proof) == "raised from iOS 15 to iOS 18: the outputs are equal on 1 sample"
    already = raised(proof | {"from_ios": "18", "samples": 0})
    assert already == "it has the operator set of iOS 18 already; nothing had to be raised"
    assert "up to rounding" in raised(proof | {"equal": False})
