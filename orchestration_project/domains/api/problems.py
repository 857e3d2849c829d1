"""Why something was not done."""

from pydantic import BaseModel, Field


class WrongField(BaseModel):
    """A parameter or a field of the body that cannot be taken."""

    field: str = Field(description="Its name; of a nested one the way to it, with dots")
    problem: str = Field(description="What is wrong with it")


class Problem(BaseModel):
    """Why something was not done, and what to do."""

    type: str = Field(default="about:blank", description="A URI of the kind of problem")
    title: str = Field(description="The status in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What is the matter, one sentence")
    category: str = Field(
        description="request, access, not_found, conflict, limit or defect; or the category of "
        "what failed: transient, source, contract, configuration"
    )
    run_id: str | None = Field(default=None, description="The run that it is about")
    expected: str | None = Field(default=None, description="What would have been right")
    found: str | None = Field(default=None, description="What was there instead")
    remedy: str | None = Field(default=None, description="What to do")
    errors: list[WrongField] = Field(default=[], description="What is wrong with each")
