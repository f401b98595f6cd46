"""The page's address is written where it is used, in three places that cannot import one another."""

from __future__ import annotations

import re
from pathlib import Path

import airflow_model_ops
from airflow_model_ops.core.page_links import PAGE_PATH

PLUGIN = Path(airflow_model_ops.__file__).parent / "plugin"


def test_links_lead_to_where_airflow_shows_the_page_and_the_page_finds_itself_there() -> None:
    from airflow_model_ops.plugin.airflow_plugin import PAGE

    (home,) = re.findall(r'HOME = "(.*)"', (PLUGIN / "www" / "src" / "routes.ts").read_text())

    assert f"/plugin/{PAGE}" == PAGE_PATH == home
