"""A dataset whose rules make other rows has another `rule_version`."""

from tests.rule_versions import RuleDigest, find_unraised, make_digests, read_digests

REMEDY = (
    "raise rule_version in the declaration of the dataset, then run "
    "`python -m tests.rule_versions --write`"
)


def test_changed_rules_have_another_version():
    written, present = read_digests(), make_digests()
    assert len(present) > 10
    assert find_unraised(written, present) == [], REMEDY
    assert written == present, "run `python -m tests.rule_versions --write`"


def test_a_dataset_with_other_rules_of_the_same_version_is_named():
    written = {"rates": RuleDigest("2", "a"), "volume": RuleDigest("1", "b")}
    present = {"rates": RuleDigest("2", "c"), "volume": RuleDigest("2", "d")}
    assert find_unraised(written, present) == [
        "invalid rule_version of rates: expected another than 2, as its rules changed"
    ]
