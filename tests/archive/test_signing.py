import base64
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from requant.archive import signing
from requant.archive.signing import PASSWORD, sign, signature_path, verify_signature
from requant.cli import main
from requant.errors import RequantError

CURVES = ("P-256", "P-384", "P-521")
KINDS = {
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
    "ed25519": ("ED25519", None),
    "secp256k1": ("EC", "ec_paramgen_curve:secp256k1"),
    **{curve: ("EC", f"ec_paramgen_curve:{curve}") for curve in CURVES},
}


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("text")
    monkeypatch.setattr(signing, "is_installed", lambda module: module != "OpenSSL")
    for function in (sign, verify_signature):
        with pytest.raises(
            RequantError, match=r"module OpenSSL.*not installed(?s:.*)pip install --editable '\.\[signing\]'"
        ):
            function(tmp_path, tmp_path / "sig", tmp_path / "key")


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Return the folder of private and public keys by kind, made with openssl as the documentation says."""
    pytest.importorskip("model_signing", reason="the extra signing is not installed")
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make keys with")
    folder = tmp_path_factory.mktemp("keys")
    for name, (algorithm, option) in KINDS.items():
        options = ["-pkeyopt", option] if option else []
        openssl("genpkey", "-algorithm", algorithm, *options, "-out", folder / f"{name}.pem")
        openssl("pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "another.pem")
    openssl("pkey", "-in", folder / "another.pem", "-pubout", "-out", folder / "another.pub")
    locked = ("-aes256", "-passout", "pass:geheim ü", "-out", folder / "locked.pem")
    openssl("pkey", "-in", folder / "P-256.pem", *locked)
    (folder / "nothing.pem").write_text("no key")
    return folder


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def release(network_release, tmp_path):
    return Path(shutil.copytree(network_release[0], tmp_path / "painter-1.0"))


@pytest.fixture
def signature(release, keys, tmp_path):
    path = signature_path(tmp_path / "archive", "painter", "1.0")
    sign(release, path, keys / "P-256.pem")
    return path


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def test_a_signature_lies_beside_the_store():
    assert signature_path(Path("archive"), "painter", "1.0") == Path("archive/signatures/painter/1.0.sig")


@pytest.mark.parametrize("curve", CURVES)
def test_what_was_signed_holds_under_any_name_of_the_folder(release, keys, tmp_path, curve):
    before = {name: path.read_bytes() for name, path in files_in(release).items()}
    assert sign(release, tmp_path / "sig", keys / f"{curve}.pem") == len(before)
    assert {name: path.read_bytes() for name, path in files_in(release).items()} == before
    restored = release.rename(tmp_path / "restored")
    assert verify_signature(restored, tmp_path / "sig", keys / f"{curve}.pub") == len(before)
    (tmp_path / "link").symlink_to(restored)
    assert verify_signature(tmp_path / "link", tmp_path / "sig", keys / f"{curve}.pub") == len(before)


def test_the_signature_is_over_the_digest_of_every_file(release, keys, signature):
    """Read the bundle by hand, and let openssl check it."""
    bundle = json.loads(signature.read_text())
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert {each["name"]: each["digest"] for each in statement["predicate"]["resources"]} == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files_in(release).items()
    }
    kind = envelope["payloadType"].encode()
    folder = signature.parent
    (folder / "signed").write_bytes(b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload]))
    (folder / "raw").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    openssl("dgst", "-sha256", "-verify", keys / "P-256.pub", "-signature", folder / "raw", folder / "signed")


def model_signing(*arguments):
    program = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_the_librarys_own_command_agrees(release, keys, signature, tmp_path):
    check = ("verify", "key", release, "--signature", signature, "--public_key", keys / "P-256.pub")
    assert model_signing(*check).returncode == 0
    theirs = tmp_path / "theirs.sig"
    done = model_signing("sign", "key", release, "--signature", theirs, "--private_key", keys / "P-256.pem")
    assert done.returncode == 0, done.stderr
    verify_signature(release, theirs, keys / "P-256.pub")
    (release / "summary.tsv").write_text("changed")
    assert model_signing(*check).returncode != 0


def test_a_changed_a_missing_and_a_further_file_are_named(release, keys, signature):
    (release / "variants" / "painter_kmeans_2.mlmodel").write_bytes(b"changed")
    (release / "summary.tsv").unlink()
    (release / ".gitignore").write_text("*")
    with pytest.raises(RequantError, match="is not what was signed") as caught:
        verify_signature(release, signature, keys / "P-256.pub")
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip().partition("'")[0] for line in lines] == [
        "Extra files found in model ",
        "Missing files in model ",
        "Hash mismatch for ",
    ]
    for line, name in zip(lines, (".gitignore", "summary.tsv", "variants/painter_kmeans_2.mlmodel"), strict=True):
        assert name in line


def test_another_key_is_refused(release, keys, signature):
    with pytest.raises(RequantError, match=r"made with another key than the one of .*another\.pub"):
        verify_signature(release, signature, keys / "another.pub")


def test_a_signature_that_was_passed_off_as_of_the_right_key_is_refused(release, keys, tmp_path, signature):
    forged = tmp_path / "forged.sig"
    sign(release, forged, keys / "another.pem")
    right, wrong = json.loads(signature.read_text()), json.loads(forged.read_text())
    wrong["verificationMaterial"] = right["verificationMaterial"]
    forged.write_text(json.dumps(wrong))
    with pytest.raises(RequantError, match="does not hold for the key"):
        verify_signature(release, forged, keys / "P-256.pub")


def test_a_signature_whose_digests_were_changed_is_refused(release, keys, signature):
    changed = release / "summary.tsv"
    old = hashlib.sha256(changed.read_bytes()).hexdigest()
    changed.write_text("changed")
    bundle = json.loads(signature.read_text())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    payload = payload.replace(old.encode(), hashlib.sha256(b"changed").hexdigest().encode())
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signature.write_text(json.dumps(bundle))
    with pytest.raises(RequantError, match="does not hold for the key"):
        verify_signature(release, signature, keys / "P-256.pub")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read"),
        ("[]", "is no signature in the format of OpenSSF Model Signing"),
        ('{"verificationMaterial": {"certificate": {}}, "dsseEnvelope": {}}', "not made with a key, but with a certif"),
        ('{"verificationMaterial": {"publicKey": {}}, "dsseEnvelope": {}}', "can't be checked against the signature"),
    ],
)
def test_what_is_no_signature_is_refused(release, keys, tmp_path, text, message):
    (tmp_path / "sig").write_text(text)
    with pytest.raises(RequantError, match=message):
        verify_signature(release, tmp_path / "sig", keys / "P-256.pub")


def test_a_key_with_a_password_wants_it_from_the_environment(release, keys, tmp_path, monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(RequantError, match=f"has a password. Set the environment variable {PASSWORD}"):
        sign(release, tmp_path / "sig", keys / "locked.pem")
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(RequantError, match=f"is the password in {PASSWORD} the right one"):
        sign(release, tmp_path / "sig", keys / "locked.pem")
    assert not (tmp_path / "sig").exists()
    monkeypatch.setenv(PASSWORD, "geheim ü")
    sign(release, tmp_path / "sig", keys / "locked.pem")
    verify_signature(release, tmp_path / "sig", keys / "P-256.pub")
    sign(release, tmp_path / "sig", keys / "P-384.pem")  # which has none


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("missing.pem", "can't be read: No such file"),
        ("nothing.pem", "holds no private key(?s:.*)openssl genpkey"),
        ("P-256.pub", "holds a public key; signing needs the private one"),
        ("rsa.pem", r"another kind \(RSA\)(?s:.*)openssl genpkey"),
        ("ed25519.pem", r"another kind \(Ed25519\)"),
        ("secp256k1.pem", r"another kind \(EC on the curve secp256k1\)"),
    ],
)
def test_a_private_key_that_can_not_sign_is_refused(release, keys, tmp_path, key, message):
    with pytest.raises(RequantError, match=message):
        sign(release, tmp_path / "sig", keys / key)
    assert not (tmp_path / "sig").exists()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("missing.pub", "can't be read: No such file"),
        ("nothing.pem", "holds no public key"),
        ("P-256.pem", "holds a private key(?s:.*)openssl pkey"),
        ("rsa.pub", r"another kind \(RSA\)"),
        ("secp256k1.pub", r"another kind \(EC on the curve secp256k1\)"),
    ],
)
def test_a_public_key_that_can_not_check_is_refused(release, keys, signature, key, message):
    with pytest.raises(RequantError, match=message):
        verify_signature(release, signature, keys / key)


def test_a_folder_that_can_not_be_signed_is_refused(release, keys, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message in ((tmp_path / "none", "is no folder"), (tmp_path / "empty", "no files in")):
        with pytest.raises(RequantError, match=message):
            sign(folder, tmp_path / "sig", keys / "P-256.pem")
    with pytest.raises(RequantError, match="would lie in what it signs"):
        sign(release, release / "model.sig", keys / "P-256.pem")
    (release / "link").symlink_to(release / "summary.tsv")
    with pytest.raises(RequantError, match=r"can't be signed: .*symlink"):
        sign(release, tmp_path / "sig", keys / "P-256.pem")


def test_a_release_is_signed_and_checked_where_it_lies_in_the_archive(keys, project, capsys):
    model = next(path.name for path in (project / "archive" / "ocfl").iterdir() if path.is_dir())
    private, public = keys / "P-256.pem", keys / "P-256.pub"
    assert main(["archive", "sign", model, "--key", str(private)]) == 0
    assert main(["archive", "verify-signature", model, "--key", str(public)]) == 0
    told = capsys.readouterr().out
    assert "files signed, in archive/signatures/" in told
    assert "files as they were signed, by the key" in told
    assert main(["archive", "verify-signature", model, "--key", str(keys / "P-384.pub")]) == 1
    assert main(["archive", "verify"]) == 0
