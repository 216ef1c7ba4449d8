"""Every test here runs compiled code."""

import pytest


@pytest.fixture(autouse=True)
def ready(compiled: None) -> None: ...
