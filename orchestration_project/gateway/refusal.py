"""What is answered to a request that is not let through."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """Ends a request with a status and a sentence, which never quotes what was sent."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer, in the form that a client of GraphQL understands."""
        body = {"errors": [{"message": self.text}]}
        return JSONResponse(body, self.status, headers=self.headers)
