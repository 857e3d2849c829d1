"""Signatures of plugins: Ed25519 over the hashes of all files, in plugin.sig."""

import base64
import binascii
import hashlib
from collections.abc import Mapping

from orchestration_project.errors import ConfigurationError, ContractError

SIGNATURE_FILE = "plugin.sig"
KEY_BYTES, SIGNATURE_BYTES = 32, 64


def file_hashes(files: Mapping[str, bytes]) -> Mapping[str, str]:
    """Return the SHA-256 of each file, hex, by path."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}


def signed_content(files: Mapping[str, bytes]) -> bytes:
    r"""Return the signed content: a line ``path\0sha256\n`` for each other file, sorted."""
    hashes = file_hashes({path: file for path, file in files.items() if path != SIGNATURE_FILE})
    return b"".join(f"{path}\0{digest}\n".encode() for path, digest in hashes.items())


def sign(files: Mapping[str, bytes], private_key: bytes) -> bytes:
    """Return the content of plugin.sig for these files, by an Ed25519 key of 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(private_key)
    return base64.b64encode(key.sign(signed_content(files))) + b"\n"


def public_key_of(private_key: bytes) -> str:
    """Return the public key of an Ed25519 key, Base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(private_key).public_key()
    return base64.b64encode(key.public_bytes_raw()).decode()


def read_key(text: str) -> bytes:
    """Return the bytes of an Ed25519 key, public or private, that is written in Base64.

    Raises:
        ConfigurationError: It is none.
    """
    return _decode_base64(text.strip(), KEY_BYTES) or _refuse_key(text)


def verify(files: Mapping[str, bytes], public_key: str, publisher: str) -> None:
    """Make sure that the publisher signed all of these files.

    Args:
        files: All files of the plugin, plugin.sig among them.
        public_key: Key of the publisher, Base64.
        publisher: Its name, for messages.

    Raises:
        ContractError: The signature is damaged, or of other files or another key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    written = files[SIGNATURE_FILE].decode("ascii", "replace").strip()
    signature = _decode_base64(written, SIGNATURE_BYTES)
    try:
        if signature is None:
            raise InvalidSignature
        key = Ed25519PublicKey.from_public_bytes(read_key(public_key))
        key.verify(signature, signed_content(files))
    except (InvalidSignature, ValueError) as error:
        raise ContractError(
            f"the signature of the plugin is not that of {publisher}",
            expected="plugin.sig of exactly these files, by the publisher's trusted key",
            found="another signature" if signature else "no Base64 of 64 bytes",
            remedy="get the archive from the publisher again; do not use this one",
        ) from error


def _decode_base64(text: str, byte_count: int) -> bytes | None:
    try:
        b64decode = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return b64decode if len(b64decode) == byte_count else None


def _refuse_key(text: str) -> bytes:
    raise ConfigurationError(
        "invalid key: expected an Ed25519 key, Base64 of 32 bytes",
        found=f"{len(text)} characters",
        remedy="copy the key that `orchestrate plugins keygen` printed",
    )
