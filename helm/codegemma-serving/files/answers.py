"""Whether an installed service is ready and completes code: what `helm test` runs.

Usage: answers.py URL. With API_KEY in the environment it asks for a completion with it. Without one, where
KEYS_REQUIRED is true, it wants the service to refuse.
"""

import json
import os
import sys
import urllib.error
import urllib.request

_TO_DO = "See `kubectl get rayservice,pods`, and run the test again when the gateway pods are ready."


def ask(url: str, body: dict[str, object] | None = None, key: str | None = None) -> tuple[int, str]:
    """Status and text of an answer.

    Raises:
      OSError: there is none.
    """
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def main(url: str, key: str | None, keys_required: bool) -> str | None:
    """What is wrong, or None."""
    try:
        status, text = ask(f"{url}/health")
        print("health:", status, text)
        if status != 200:
            return f"The service is not ready. {_TO_DO}"
        status, text = ask(f"{url}/v1/completions", {"prompt": "def add(a, b):\n    ", "max_tokens": 8}, key)
    except OSError as error:
        return f"{url} does not answer: {error}. {_TO_DO}"
    print("completion:", status, text)
    expected = 401 if keys_required and key is None else 200
    return None if status == expected else f"A completion gave {status}, not {expected}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ.get("API_KEY"), os.environ.get("KEYS_REQUIRED") == "true"))
