"""`zonelet check`: answers, exit codes, and the guide whose commands are run here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from provider.cli.main import app

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "profiles.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

POD = "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}\n"


def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *words], input=stdin)
    return result.exit_code, result.stdout, result.stderr


def test_every_command_of_the_guide_prints_what_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told, commands, code = [], 0, 0
    for kind, text in _BLOCK.findall(GUIDE.read_text()):
        if kind == "yaml":
            name = text.partition("\n")[0].removeprefix("# ")
            Path(name).write_text(text)
        elif kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                commands += 1
                if command == "echo $?":
                    told.append((command, f"{code}\n", shown))
                    continue
                words = shlex.split(command)
                assert words[:2] == ["zonelet", "check"]
                code, out, err = run(*words[2:])
                told.append((command, out or err, shown))
    assert commands == 8
    assert [(command, got) for command, got, _ in told] == [(command, shown) for command, _, shown in told]


def test_the_guides_configuration_is_one() -> None:
    from provider.config.load import parse

    text = next(text for _, text in _BLOCK.findall(GUIDE.read_text()) if "kind: ProviderConfig" in text)
    assert parse(text).profile == "eci"


def test_json_has_exact_numbers() -> None:
    code, out, _ = run("-", "--profile", "eci", "-o", "json", stdin=POD)
    (found,) = json.loads(out)
    assert code == 0
    assert (found["cpuMilli"], found["memoryBytes"], found["pricePerHour"]) == (2000, 4 << 30, "0.441072")
    assert (found["accepted"], found["size"], found["candidates"]) == (True, "2.0-4.0Gi", ["2.0-4.0Gi"])
    assert yaml.safe_load(run("-", "--profile", "eci", "-o", "yaml", stdin=POD)[1]) == [found]


def test_wide_shows_what_was_asked_and_every_candidate() -> None:
    pod = POD.replace("name: p", "name: p, annotations: {k8s.aliyun.com/eci-compute-category: 'economy,general'}")
    _, out, _ = run("-", "--profile", "eci", "-o", "wide", stdin=pod)
    header, row = out.splitlines()
    assert " ".join(header.split()) == "POD RESULT SIZE MARKET PRICE/H WHY ASKED CANDIDATES EXTRA DISK PROFILE"
    assert "2.0-4.0Gi (economy), 2.0-4.0Gi" in row
    assert "0.2827 CNY" in row


def test_what_is_wrong_with_an_annotation_is_told_beside_the_table() -> None:
    pod = POD.replace("name: p", "name: p, annotations: {k8s.aliyun.com/eci-fail-strategy: run}")
    code, _, err = run("-", "--profile", "eci", stdin=pod)
    assert code == 0
    assert err.splitlines() == [
        "Pod/p: k8s.aliyun.com/eci-fail-strategy: 'run' is not allowed; allowed: fail-back, fail-over, fail-fast",
        "profile eci: Alibaba Cloud Elastic Container Instance",
    ]


def test_spot_is_refused_while_it_is_not_sold_and_its_price_is_the_most_that_it_may_be() -> None:
    pod = POD.replace("name: p", "name: p, annotations: {k8s.aliyun.com/eci-spot-strategy: SpotAsPriceGo}")
    code, out, _ = run("-", "--profile", "eci", stdin=pod)
    assert code == 1
    assert "spot     at most 0.4411 CNY   UnsupportedOperation: market: spot is not sold yet" in out


def test_plain_has_no_price_and_no_rounding() -> None:
    code, out, err = run("-", stdin=POD)
    assert code == 0
    assert out.splitlines()[1].split() == ["Pod/p", "accepted", "0.0-0.0Gi", "pay-as-you-go", "-", "-"]
    assert err.startswith("profile plain: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{kind: Service, spec: {}}", "-: no pod in it"),
        ("", "-: no pod in it"),
        ("a: [", "-: $: not YAML"),
        ("{a: 1, a: 2}", "-: $: not YAML"),
    ],
)
def test_a_question_that_makes_no_sense_is_exit_code_2(text: str, told: str) -> None:
    code, out, err = run("-", stdin=text)
    assert (code, out) == (2, "")
    assert err.startswith(told)


def test_a_file_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    code, _, err = run(str(tmp_path / "none.yaml"))
    assert code == 2
    assert "cannot be read" in err
