"""Login forms of sites: which form is sent, with which fields, and the sign that it worked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from orchestration_project.domains.web.declaration import Css, Strict

SecretName = Annotated[str, Field(pattern=r"^WEB_LOGIN_[A-Z0-9_]{1,60}$")]
"""Setting of a login: no other secret of a process can be named in a site file, and so be sent."""

InputName = Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]
MAX_INPUTS = 200
SENT_TYPES = ("hidden", "text", "email", "tel", "url", "search", "number")


class Login(Strict):
    """A form that is sent before a crawl.

    Attributes:
        url: URL or path of the page with the form.
        form: The form; the first one with the input of the password counts.
        user: Setting of the user, WEB_LOGIN_…; or WEB_LOGIN_…_FILE, the file that has it.
        password: Setting of the password, likewise.
        user_field: Name of the input of the user.
        password_field: Name of the input of the password.
        fields: Further inputs, such as `remember`.
        signed_in: Element that the page after the login has, and the page of a failed one lacks.
    """

    url: str = Field(min_length=1, max_length=2_000)
    form: Css = "form"
    user: SecretName
    password: SecretName
    user_field: InputName = "user"
    password_field: InputName = "password"  # noqa: S105 - its name
    fields: dict[InputName, Annotated[str, Field(max_length=200)]] = Field(
        default={}, max_length=50
    )
    signed_in: Css


@dataclass(frozen=True)
class LoginForm:
    """A form that is ready to be sent.

    Attributes:
        action: URL as it is written; empty: that of the page.
        fields: Names and values, the password included.
    """

    action: str
    fields: Mapping[str, str] = field(repr=False)


def read_form(root: Any, login: Login, *, user: str, password: str) -> LoginForm:
    """Return the login form of a page; its hidden inputs, such as a CSRF token, are kept.

    Args:
        root: The page's element, of selectolax.
        login: Declaration of the form.
        user: Value of its input.
        password: Value of its input.

    Raises:
        ValueError: The page lacks the form, or it is not sent by POST.
    """
    for form in root.css(login.form):
        inputs = form.css("input[name], button[name]")[:MAX_INPUTS]
        names = {input_table.attributes.get("name") for input_table in inputs}
        if {login.user_field, login.password_field} <= names:
            break
    else:
        raise ValueError(
            f"expected a form {login.form} with inputs {login.user_field} and "
            f"{login.password_field}"
        )
    if (form.attributes.get("method") or "get").lower() != "post":
        raise ValueError("expected a form that is sent by POST: GET puts the password in a URL")
    texts = dict(_select_sent(inputs)) | login.fields
    credentials = {login.user_field: user, login.password_field: password}
    return LoginForm((form.attributes.get("action") or "").strip(), texts | credentials)


def _select_sent(inputs: list[Any]) -> list[tuple[str, str]]:
    """Return the inputs that a browser sends: with a value or ticked, and the first button."""
    sent: list[tuple[str, str]] = []
    has_button = False
    for item in inputs:
        attributes = item.attributes
        kind = (attributes.get("type") or ("submit" if item.tag == "button" else "text")).lower()
        name, value = attributes.get("name") or "", attributes.get("value")
        is_ticked = kind in ("checkbox", "radio") and "checked" in attributes
        is_button = kind == "submit" and not has_button
        has_button |= kind == "submit"
        if kind in SENT_TYPES or is_ticked or is_button:
            sent.append((name, "on" if is_ticked and value is None else value or ""))
    return sent


def is_signed_in(root: Any, login: Login) -> bool:
    """Whether a page, given by its element, has the sign of a login that worked."""
    return bool(root.css(login.signed_in))
