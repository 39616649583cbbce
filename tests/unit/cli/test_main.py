import pytest
from typer.testing import CliRunner

from provider.cli.main import app
from provider.cluster.build_command import BuildError


def test_joining_a_cluster_is_refused_until_it_is_there() -> None:
    result = CliRunner().invoke(app, ["up", "--cluster", "current"])
    assert isinstance(result.exception, BuildError)
    assert "not there yet" in result.exception.what


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a" * 40])
def test_a_bad_name_is_a_usage_error(name: str) -> None:
    assert CliRunner().invoke(app, ["status", "--name", name]).exit_code == 2
