"""`alerts cause`: alerts are caused on an installation of their own, sent once, and recover."""

import json

import pytest

from orchestration_project.__main__ import main
from orchestration_project.cli.alert_causes import CAUSES
from orchestration_project.cli.alerts_cause import CausedAlert, cause_one
from orchestration_project.services.alerts.rules.decisions import KINDS
from orchestration_project.settings import load_settings


def test_every_kind_of_alert_can_be_caused():
    assert set(CAUSES) == set(KINDS) - {"recovered", "test"}


def test_an_unknown_name_is_refused_with_those_that_there_are(demo_settings, capsys):
    assert main(["alerts", "cause", "host_silnet"]) == 2
    error = capsys.readouterr().err
    assert "no alert 'host_silnet' can be caused" in error
    assert "host_silent" in error


@pytest.mark.slow
def test_a_caused_alert_leaves_the_installation_as_it_is(demo_settings, tmp_path, capsys):
    before = sorted(load_settings().state_path.rglob("*"))
    assert main(["alerts", "cause", "objective_burning", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "objective_burning", "sent": 1, "recovered": "yes", "result": "OK"}
    ]
    assert sorted(load_settings().state_path.rglob("*")) == before


def test_an_alert_that_is_sent_twice_or_does_not_recover_is_wrong():
    assert CausedAlert("a", 1, True).is_right
    assert CausedAlert("a", 1, None).is_right
    assert not CausedAlert("a", 2, True).is_right
    assert not CausedAlert("a", 0, True).is_right
    assert not CausedAlert("a", 1, False).is_right


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSES)
def test_each_alert_is_sent_once_and_recovers(demo_settings, name):
    found = cause_one(load_settings(), name)
    assert found.is_right, found
