"""What the gateway uses of joserfc beyond its documented API. Apart, so that an upgrade is checked in one place."""

from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

MALFORMED_TOKEN = (JoseError, ValueError, RecursionError, TypeError, AttributeError)
"""What `extract_compact` and `validate_compact` may raise for a token. Only JoseError is documented.

ValueError and RecursionError come from the JSON decoder, TypeError and AttributeError from a header that is not an
object.
"""


def key_fits(key: Key, algorithm: str) -> bool:
    """Return whether the key may verify this algorithm, by its type, its curve, and its ``use`` and ``alg``.

    joserfc checks this inside `validate_compact`; to choose among several keys it is needed before.
    """
    try:
        JWSRegistry.algorithms[algorithm].check_key(key)
    except JoseError:
        return False
    return True
