"""Rules in docs/how-to/sync-peopleforce-and-jira.md work as they are shown."""

import re

import yaml

from orchestration_project.domains.saas.rules import read_rules
from orchestration_project.settings import PROJECT_ROOT

DOCUMENT = (PROJECT_ROOT / "docs" / "how-to" / "sync-peopleforce-and-jira.md").read_text()


def test_the_rules_of_the_document_can_be_put_into_effect():
    [config] = re.findall(r"```yaml\n(ops:.*?)```", DOCUMENT, re.DOTALL)
    given = yaml.safe_load(config)["ops"]["edit_saas_rules"]["config"]["rules"]
    assert [rule.rule_id for rule in read_rules(given)] == ["birthdays", "payroll"]
