"""Workers in processes of their own that write to a store: to be killed, or to race. Started by ``test_stores``.

``store_children SCHEME URL ROOT FILE PART_BYTES`` uploads a file and tells each step; ``... ROOT race NAME`` races for a log.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from airflow_model_ops.adapters.repository import store_uploads
from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
from airflow_model_ops.adapters.repository.object_store import Upload
from tests.adapters.bucket_rig import BucketServer


def upload(store: FsspecStore, path: Path, part_bytes: int) -> None:
    """Upload a file part after part; go on after each once a line comes, so that it can be killed in the middle."""
    store_uploads.PART_BYTES, store_uploads.WORKERS = part_bytes, 1
    content = path.read_bytes()

    def progress(count: int) -> None:
        print(f"stored {count}", flush=True)  # noqa: T201 - the test reads it
        sys.stdin.readline()

    whole = Upload(
        key="digits/versions/1/variables", path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    store.upload([whole], progress=progress)


def race(store: FsspecStore, name: str) -> None:
    """Write each entry that is called for if it is absent, and say whether this write won."""
    store.get("warm up")
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        content = json.dumps({"number": int(line), "by": name}).encode()
        won = store.put_if_absent(f"log/{int(line):020d}.json", content)
        print("won" if won else "lost", flush=True)  # noqa: T201


if __name__ == "__main__":
    scheme, url, root, what, argument = sys.argv[1:]
    target = BucketServer(scheme=scheme, url=url, log=Path()).store(root)
    if what == "race":
        race(target, argument)
    else:
        upload(target, Path(what), int(argument))
