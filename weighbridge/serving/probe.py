"""`python -m weighbridge.serving.probe PORT`: exit 0 when the server on this machine answers, for a container's health check.

No shell and no other program is needed for it, and nothing but the standard library is imported. The certificate is not looked at: a
server that asks itself by 127.0.0.1 learns nothing from its name.
"""

from __future__ import annotations

import http.client
import ssl
import sys

PATH = "/v2/health/ready"
TIMEOUT_S = 2.0


def is_ready(port: int, *, path: str = PATH) -> bool:
    """Return whether the server on 127.0.0.1 says that it is ready, with TLS or without."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for connection in (
        http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S),
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context),
    ):
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    raise SystemExit(0 if len(sys.argv) == 2 and sys.argv[1].isdecimal() and is_ready(int(sys.argv[1])) else 1)
