"""The page of evidence archives: what each member holds."""

from orchestration_project.domains.operations.evidence import CONTENTS
from reference_pages.markdown import code, page, section, table


def write() -> str:
    """Return the page."""
    members = [(code(name), content) for name, content in CONTENTS.items()]
    return page("evidence", [section("Members", table(("member", "content"), members))])
