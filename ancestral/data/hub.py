"""Data sets of the Hugging Face hub, and files in object stores; never a hang, never a retry without a word."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ancestral.data.columnar import Rows
from ancestral.data.material import Options
from ancestral.errors import InvalidInput

TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""


def offline() -> bool:
    """Return whether the environment forbids the network: HF_HUB_OFFLINE or HF_DATASETS_OFFLINE."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    )


def may_be_cached(name: str) -> bool:
    """Return whether a folder of the hub's caches is called as a data set would be.

    The library that reads them takes seconds to import, which a wrong name is not worth.

    Args:
        name: the hub's id.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(os.environ.get("HF_HOME") or Path(cache) / "huggingface")
    folders = [Path(os.environ.get(f"HF_{kind.upper()}_CACHE") or home / kind) for kind in ("hub", "datasets")]

    def letters(text: str) -> str:  # owner/Name is in datasets--owner--Name, and in owner___name
        return re.sub(r"[/_-]", "", text.removeprefix("datasets--")).lower()

    found = (entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir())
    return any(letters(entry) == letters(name) for entry in found)


def hub_rows(name: str, options: Options, otherwise: str) -> Rows:
    """Return the rows of the hub's data set `name`, having asked the hub once whether it exists.

    Args:
        name: the hub's id, such as "ylecun/mnist".
        options: `subset`, `revision` and `stream` count here.
        otherwise: what a person can do besides, for errors.

    Raises:
        InvalidInput: if the hub cannot be reached, or has no such data set that may be read.
    """
    revision = options.revision
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise InvalidInput(f"there is no data set {name!r}: {otherwise}")
    unknown = (
        f"there is no data set {name!r} here or in the hub's cache, and HF_HUB_OFFLINE forbids to ask the hub: unset it, or"
        f" {otherwise}"
    )
    if not offline():
        revision = _ask(name, revision, otherwise)
    elif not may_be_cached(name):
        raise InvalidInput(unknown)

    def opener() -> Mapping[str, Any]:
        import datasets

        datasets.disable_progress_bars()
        try:
            return datasets.load_dataset(name, options.subset, revision=revision, streaming=options.stream)
        except (OSError, ValueError, RuntimeError) as error:
            if offline():
                raise InvalidInput(unknown) from error
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InvalidInput(f"the hub's data set {name} cannot be loaded ({reason}): {otherwise}") from error

    stamp = {"hub": name, "subset": options.subset, "revision": revision}
    return Rows(f"the hub's {name}", opener, stamp, revision=revision)


def _ask(name: str, revision: str | None, otherwise: str) -> str | None:
    """Return the commit that the hub has for `name`; one request, so that absence is told in seconds."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return HfApi(endpoint=os.environ.get("HF_ENDPOINT")).dataset_info(name, revision=revision, timeout=TIMEOUT).sha
    except GatedRepoError as error:
        raise InvalidInput(
            f"the hub's data set {name} is gated: accept its terms on its page, then run `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise InvalidInput(f"the hub's data set {name} has no revision {revision!r}: leave revision= out") from error
    except RepositoryNotFoundError as error:
        raise InvalidInput(f"there is no data set {name!r}, here or on the hub: {otherwise}") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise InvalidInput(f"the hub answered {status} for the data set {name!r}: try later, or {otherwise}") from error
    except Exception as error:
        # The transport's own errors (no route, no name, timeout), whichever HTTP library the hub's client uses.
        raise InvalidInput(
            f"there is no data set {name!r} here, and the hub cannot be reached ({type(error).__name__}): connect, or set"
            f" HF_HUB_OFFLINE=1 if the hub's cache has it; or {otherwise}"
        ) from error


def url_rows(address: str, options: Options) -> Rows:
    """Return the rows of the parquet file or files at an address such as s3://bucket/train-*.parquet.

    Raises:
        InvalidInput: if it is not parquet, or cannot be reached.
    """
    if not address.endswith(".parquet"):
        raise InvalidInput(f"{address} is not parquet, the kind that is read from an address: give *.parquet, or copy it here")

    import fsspec

    try:
        system, pattern = fsspec.url_to_fs(address)
        files = system.glob(pattern)
        stamp = [{**system.info(path)} for path in files]
    except ImportError as error:
        raise InvalidInput(f"{address} needs a package to be read ({error}): install it") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{address} cannot be read ({error}): check the address and the access to it") from error
    if not files:
        raise InvalidInput(f"there is no file at {address}: check the address")

    def opener() -> Mapping[str, Any]:
        import datasets

        datasets.disable_progress_bars()
        addresses = [system.unstrip_protocol(path) for path in files]
        return datasets.load_dataset("parquet", data_files={"train": addresses}, streaming=True)

    return Rows(address, opener, stamp)
