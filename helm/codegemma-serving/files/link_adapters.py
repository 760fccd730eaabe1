"""Links the adapters of models.adapters.served on their claim: each model's directory has these and no other links.

Takes JSON: for each directory a source by name, both relative to the claim. The service sees changes within seconds.
A link is renamed onto another one, so an adapter is never missing and never of two versions.
"""

import json
import os
import sys
from pathlib import Path

_CLAIM = Path("/adapters")


def link(claim: Path, wanted: dict[str, dict[str, str]]) -> None:
    """Makes and removes links; changes nothing unless all of it can be done.

    Raises:
      SystemExit: a source is missing, or a name is taken by something that is no link; says which.
    """
    links = {
        claim / directory / (name + (".nemo" if source.endswith(".nemo") else "")): claim / source
        for directory, adapters in wanted.items()
        for name, source in adapters.items()
    }
    for path, source in links.items():
        if not source.exists():
            sys.exit(f"models.adapters.served: {source} is not on the claim. Copy it there, or correct the source.")
        if path.exists() and not path.is_symlink():
            sys.exit(f"models.adapters.served: {path} is there and no link. Move it out of that directory.")
    for directory in wanted:
        (claim / directory).mkdir(parents=True, exist_ok=True)
    for path, source in links.items():
        target = os.path.relpath(source, path.parent)
        if not path.is_symlink() or os.readlink(path) != target:
            new = claim / ".codegemma-link"
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.replace(path)
            print(f"{path} -> {target}", flush=True)
    for directory in wanted:
        for path in (claim / directory).iterdir():
            if path.is_symlink() and path not in links:
                path.unlink()
                print(f"{path} is removed", flush=True)


def main(claim: Path, wanted: str) -> None:
    """Links what the values list.

    Raises:
      SystemExit: as `link`, or the claim cannot be written; says which file.
    """
    try:
        link(claim, json.loads(wanted))
    except OSError as error:
        sys.exit(f"models.adapters.served: {error}. The claim must be one that user {os.getuid()} can write.")


if __name__ == "__main__":
    main(_CLAIM, sys.argv[1])
