"""Tell where a distribution came from, by where it lies and what its installer noted.

Standard library only, for it is asked in-process too.
"""

from __future__ import annotations

import os

from repro.formats.direct_url import Editable, Index, Source, System, parse_direct_url


def find_source(*, site: str, entry: str, prefix: str, is_of_conda: bool, direct_url: str | None) -> Source:
    """Return the source of the `.dist-info` or `.egg-info` called `entry` in the directory `site`.

    `prefix` is the environment's, `direct_url` the text of direct_url.json (PEP 610). Raises ValueError where that is
    damaged.
    """
    of_debian = os.path.basename(site) == "dist-packages" and "/local/" not in site
    if of_debian or is_of_conda:
        return System()
    if direct_url:
        return parse_direct_url(direct_url)
    if entry.endswith(".egg-info") and not os.path.realpath(site).startswith(os.path.realpath(prefix) + os.sep):
        return Editable()  # `setup.py develop`: a .pth file leads to the project's own directory
    return Index()
