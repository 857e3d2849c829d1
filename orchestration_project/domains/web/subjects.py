"""Persons on pages of sites, for erasures: they are masked in items, changes and captured pages."""

from orchestration_project.contracts.subjects import MIN_MASKED_CHARACTERS, SubjectKind

PERSON = SubjectKind(
    name="person",
    description="text that names a person on pages, such as an e-mail address; "
    f"{MIN_MASKED_CHARACTERS} characters at least",
)
