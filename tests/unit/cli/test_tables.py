import json

from provider.cli.tables import Output, render

_ROWS = [{"name": "etcd", "running": True, "log": "a"}, {"name": "x", "running": False, "log": None}]


def test_a_table_leaves_wide_columns_out() -> None:
    assert render(_ROWS, Output.TABLE, ["log"]) == "NAME   RUNNING\netcd   yes\nx      no"


def test_wide_has_every_column() -> None:
    assert render(_ROWS, Output.WIDE, ["log"]).splitlines()[0] == "NAME   RUNNING   LOG"


def test_json_has_the_rows_unchanged() -> None:
    assert json.loads(render(_ROWS, Output.JSON, ["log"])) == _ROWS
