"""One headless browser for all pages."""

from __future__ import annotations

import pytest

from tests.report.browser import browser, missing


@pytest.fixture(scope="package")
def chrome(tmp_path_factory):
    reason = missing()
    if reason:
        pytest.skip(reason)
    with browser(tmp_path_factory.mktemp("browser")) as session:
        yield session
