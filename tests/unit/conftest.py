"""What several tests of the server ask for: a package of a table with pictures, and one without, loaded once."""

from __future__ import annotations

import pytest

from tests.unit.runtime_packages import make_package
from weighbridge.runtime import Model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return _made(tmp_path_factory, photos=True)


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return _made(tmp_path_factory, photos=False)


def _made(factory: pytest.TempPathFactory, *, photos: bool) -> Model:
    folder = factory.mktemp("package") / "package"
    make_package(folder, photos=photos)
    return Model.load(folder, threads=1)
