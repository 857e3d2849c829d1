"""Requests of the client, and their responses as a model or a DataFrame."""

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar, get_args, get_origin
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import AwareDatetime, BaseModel

from orchestration_project.client.transport import Transport

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DTYPES: Mapping[Any, str] = {
    bool: "boolean",
    int: "Int64",
    float: "float64",
    str: "str",
    datetime: "datetime64[us, UTC]",
    AwareDatetime: "datetime64[us, UTC]",
    dict: "str",
}
"""The pandas type of a column, by the type of the field of a model; an object is JSON text."""

Answer = TypeVar("Answer", bound=BaseModel)


class PageOfAnswer(Protocol):
    """A model that is one page of several."""

    @property
    def next_cursor(self) -> str | None:
        """Cursor of the next page; None: this is the last."""
        ...

    @classmethod
    def model_validate_json(cls, json_data: bytes) -> Self:
        """Return the page that a JSON text describes."""
        ...


Paged = TypeVar("Paged", bound=PageOfAnswer)


class Requests:
    """Asks a gateway at ``url`` as whoever ``key`` is; closed at the end of a `with`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = Transport(
            url, key, timeout_seconds=timeout_seconds, transport=transport, sleep=sleep
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.__exit__()

    def _get(self, path: str, model: type[Answer], **query: Any) -> Answer:
        answer = self._transport.ask("GET", path, query=query)
        return model.model_validate_json(answer.content)

    def _pages(self, path: str, model: type[Paged], **query: Any) -> Iterator[Paged]:
        """Yield as many pages as are requested."""
        cursor: str | None = None
        while True:
            answer = self._transport.ask("GET", path, query={**query, "cursor": cursor})
            page = model.model_validate_json(answer.content)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        model: type[Answer],
        *,
        key: str | None = None,
    ) -> Answer:
        values = {name: value for name, value in body.items() if value is not None}
        answer = self._transport.ask("POST", path, body=values, key=key)
        return model.model_validate_json(answer.content)


def quoted(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


def new_key() -> str:
    """Return a key of this call alone, so that it may be repeated where an answer was lost."""
    return uuid4().hex


def frame_of_parquet(content: bytes) -> "pd.DataFrame":
    """Return the rows of a Parquet file that the gateway wrote, with the types of its schema.

    Whole numbers are Int64, flags boolean, decimals exact (ArrowDtype decimal128), text str, days
    datetime64[s] without a zone, timestamps datetime64[us, UTC], other numbers float64.
    """
    import pyarrow as pa
    from pyarrow.parquet import read_table

    table = read_table(io.BytesIO(content))
    days_as_times = [
        pa.field(each.name, pa.timestamp("s") if each.type == pa.date32() else each.type)
        for each in table.schema
    ]
    table = table.cast(pa.schema(days_as_times))
    return table.to_pandas(types_mapper=_map_arrow_type, split_blocks=True, self_destruct=True)


def metadata_of_parquet(content: bytes, key: str) -> str | None:
    """Return a text of the metadata of a Parquet file; None: it has none of that name."""
    from pyarrow.parquet import read_metadata

    metadata = (read_metadata(io.BytesIO(content)).metadata or {}).get(key.encode())
    return None if metadata is None else metadata.decode()


def _map_arrow_type(kind: "pa.DataType") -> Any:
    """Return the pandas type that keeps NULL and all digits; None: the usual one does."""
    import pandas as pd
    from pyarrow import types

    if types.is_decimal(kind):
        return pd.ArrowDtype(kind)
    if types.is_integer(kind):
        return pd.Int64Dtype()
    if types.is_boolean(kind):
        return pd.BooleanDtype()
    is_text = types.is_string(kind) or types.is_large_string(kind)
    return pd.StringDtype(na_value=float("nan")) if is_text else None


def frame_of_models(model: type[BaseModel], records: Iterable[BaseModel]) -> "pd.DataFrame":
    """Return models as rows, each column with the type of its field, also of an empty list.

    The fields of a model in the field ``error`` are the columns ``error_category`` and so on.
    """
    import pandas as pd

    rows = [dict(_iterate_values(record)) for record in records]
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=dtype)
        for name, dtype in _iterate_dtypes(model)
    }
    return pd.DataFrame(columns)


def _iterate_dtypes(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = _remove_none(field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _iterate_dtypes(kind, f"{prefix}{name}_")
        else:
            origin = get_origin(kind)
            yield f"{prefix}{name}", DTYPES[str if origin is Literal else origin or kind]


def _remove_none(annotation: Any) -> Any:
    """Return the type of a field that may have no value."""
    kinds = [argument for argument in get_args(annotation) if argument is not type(None)]
    return kinds[0] if type(None) in get_args(annotation) else annotation


def _iterate_values(record: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record:
        if isinstance(value, BaseModel):
            yield from _iterate_values(value, f"{prefix}{name}_")
        else:
            is_object = isinstance(value, dict)
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False) if is_object else value
