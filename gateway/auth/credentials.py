"""What is the same for every spelling of a credential, so that nobody counts as many by writing theirs in many ways."""

from base64 import b64decode


def normal_form(authorization: str) -> bytes:
    """Return the meaning of a header ``Authorization``: of Basic the name and the password (RFC 7617).

    It is as lenient as any server may be: of Base64 it takes what can be read, and asks for no padding.
    """
    scheme, _, credential = authorization.strip().partition(" ")
    scheme, credential = scheme.lower(), credential.strip()
    if scheme == "basic":
        try:
            return b"basic:" + b64decode(credential + "==")
        except ValueError:
            pass  # it goes upstream all the same, which is the one to judge it
    return f"{scheme} {credential}".encode()
