"""Signatures of releases with a key of one's own, in the format of the OpenSSF Model Signing specification 1.0.

A signature is one file, a Sigstore bundle (https://github.com/ossf/model-signing-spec): the SHA-256 of every file of
the release, signed with ECDSA. It lies beside the archive's store, because a release in there does not change any
more. The library `model-signing`, an extra of this project, makes and checks it, without a network, a certificate
authority or a transparency log.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from requant.errors import RequantError
from requant.frameworks import is_installed
from requant.records import write_whole

PASSWORD = "REQUANT_KEY_PASSWORD"  # the environment variable with the password of the private key
CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those of the format
_MODULES = ("model_signing", "OpenSSL")
_HOW_TO_MAKE_A_KEY = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem"
_HOW_TO_GET_THE_PUBLIC_KEY = "openssl pkey -in KEY.pem -pubout -out KEY.pub"


def signature_path(archive: Path, model: str, release: str) -> Path:
    """Return where the signature of a release is kept."""
    return archive / "signatures" / model / f"{release}.sig"


def sign(folder: Path, signature: Path, private_key: Path) -> int:
    """Sign all files below a folder, and write the signature whole.

    ECDSA draws a number: two signatures of the same files are not the same bytes, and both hold.

    Args:
        folder: a release, restored or laid out for the time being; its name is in the signature, without meaning.
        signature: the file to write, outside of the folder.
        private_key: a PEM file with a private key on one of the curves in `CURVES`. If it has a password, that is read
            from the environment variable `REQUANT_KEY_PASSWORD`.

    Returns:
        The number of files that were signed.

    Raises:
        RequantError: if the extra `signing` is not installed, there is nothing to sign, it has links in it, the
            signature would lie in the folder, or the key is none of those, or its password is wrong.
    """
    _require_installed()
    from model_signing import signing

    count = _count_files(folder)
    if signature.resolve().is_relative_to(folder.resolve()):
        raise RequantError(f"the signature {signature} would lie in what it signs, {folder}. Keep it beside it.")
    password = _require_private_key(private_key)
    config = signing.Config().set_hashing_config(_hashing())
    config.use_elliptic_key_signer(private_key=private_key, password=password)
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "model.sig"
        try:
            config.sign(folder.resolve(), written)
        except (ValueError, OSError) as error:
            raise RequantError(f"{folder} can't be signed: {error}") from error
        write_whole(signature, written.read_bytes())
    return count


def verify_signature(folder: Path, signature: Path, public_key: Path) -> int:
    """Make sure that a folder has exactly the files that were signed, with the private key of a public one.

    Args:
        folder: a release, restored or laid out for the time being; its name does not matter.
        signature: what `sign` wrote, or another program that keeps to the format.
        public_key: a PEM file with the public key that belongs to the private one.

    Returns:
        The number of files.

    Raises:
        RequantError: if the extra `signing` is not installed, a file is missing, changed or was not signed (each is
            named), the signature is of another key or is none, or the key is none.
    """
    _require_installed()
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    count = _count_files(folder)
    _require_public_key(public_key)
    _require_signature(signature)
    config = verifying.Config().set_hashing_config(_hashing()).use_elliptic_key_verifier(public_key=public_key)
    try:
        config.verify(folder.resolve(), signature)
    except InvalidSignature as error:
        raise RequantError(
            f"the signature {signature} does not hold for the key {public_key}: it was changed, or another one made it."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise RequantError(_verdict(str(error), folder, signature, public_key)) from error
    return count


def _hashing() -> Any:
    """Return how files are taken up: SHA-256 of each whole file, without any exception, no links."""
    from model_signing import hashing

    return (
        hashing.Config()
        .use_file_serialization(hashing_algorithm="sha256")
        .set_ignored_paths(paths=[], ignore_git_paths=False)
    )


def _verdict(message: str, folder: Path, signature: Path, public_key: Path) -> str:
    """Return in the user's words what the library found."""
    kind, _, differences = message.partition("Signature mismatch: ")
    if differences and not kind:
        try:
            lines = [str(line) for line in ast.literal_eval(differences)]
        except (ValueError, SyntaxError):
            lines = [differences]
        return f"{folder} is not what was signed in {signature}:\n" + "\n".join(f"  {line}" for line in lines)
    if message.startswith("Key mismatch"):
        return f"the signature {signature} was made with another key than the one of {public_key}."
    return f"{folder} can't be checked against the signature {signature}: {message.strip()}"


def _require_installed() -> None:
    missing = [module for module in _MODULES if not is_installed(module)]
    if missing:
        raise RequantError(
            f"signatures need the library model-signing (the Python module {missing[0]}), which is not installed here. "
            "Install the extra signing with one command:\n\n"
            f"    {sys.executable} -m pip install --editable '.[signing]'"
        )


def _count_files(folder: Path) -> int:
    if not folder.is_dir():
        raise RequantError(f"{folder} is no folder with a release.")
    count = sum(1 for path in folder.rglob("*") if path.is_file())
    if not count:
        raise RequantError(f"there are no files in {folder}.")
    return count


def _require_signature(signature: Path) -> None:
    """Make sure that a file is a signature with a key; one with a certificate is checked by other means."""
    try:
        bundle = json.loads(signature.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequantError(f"the signature {signature} can't be read: {error}") from error
    material = bundle.get("verificationMaterial") if isinstance(bundle, dict) else None
    if not isinstance(material, dict) or "dsseEnvelope" not in bundle:
        raise RequantError(f"{signature} is no signature in the format of OpenSSF Model Signing, a Sigstore bundle.")
    if "publicKey" not in material:
        raise RequantError(
            f"{signature} was not made with a key, but with a certificate. Check it with the command model_signing "
            "of the library model-signing."
        )


def _require_private_key(path: Path) -> bytes | None:
    """Make sure that a file holds a private key that can sign, and return its password, if it has one.

    `cryptography` wants the password as bytes.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read_key(path, "private key")
    if b"PUBLIC KEY" in data:
        raise RequantError(f"{path} holds a public key; signing needs the private one.")
    given = os.fsencode(os.environ.get(PASSWORD, ""))
    encrypted = b"ENCRYPTED" in data
    if encrypted and not given:
        raise RequantError(f"the private key {path} has a password. Set the environment variable {PASSWORD} to it.")
    password = given if encrypted else None
    try:
        key = load_pem_private_key(data, password)
    except Exception as error:  # of many classes, some of OpenSSL's own
        if encrypted:
            message = f"the private key {path} can't be opened: is the password in {PASSWORD} the right one?"
        else:
            message = f"{path} holds no private key as a PEM file. This makes one:\n\n    {_HOW_TO_MAKE_A_KEY}"
        raise RequantError(message) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _unsuitable(path, type(key).__name__.removesuffix("PrivateKey"))
    if key.curve.name not in CURVES:
        raise _unsuitable(path, f"EC on the curve {key.curve.name}")
    return password


def _require_public_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read_key(path, "public key")
    if b"PRIVATE KEY" in data:
        raise RequantError(
            f"{path} holds a private key; a signature is checked with the public one. This takes it out:\n\n"
            f"    {_HOW_TO_GET_THE_PUBLIC_KEY}"
        )
    try:
        key = load_pem_public_key(data)
    except Exception as error:
        raise RequantError(
            f"{path} holds no public key as a PEM file. This takes it out of the private one:\n\n"
            f"    {_HOW_TO_GET_THE_PUBLIC_KEY}"
        ) from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise _unsuitable(path, type(key).__name__.removesuffix("PublicKey"))
    if key.curve.name not in CURVES:
        raise _unsuitable(path, f"EC on the curve {key.curve.name}")


def _read_key(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequantError(f"the {what} {path} can't be read: {error.strerror or error}.") from error


def _unsuitable(path: Path, kind: str) -> RequantError:
    return RequantError(
        f"{path} is a key of another kind ({kind.lstrip('_')}); signatures of models take EC keys on the curves P-256, "
        f"P-384 or P-521. This makes one:\n\n    {_HOW_TO_MAKE_A_KEY}"
    )
