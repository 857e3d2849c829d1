"""PDF: values of form fields, comments and other annotations of a page, with attached files.

PDFium's text of a page has none of these, although readers show them.
"""

from collections.abc import Callable, Iterator
from ctypes import POINTER, c_ushort, cast, create_string_buffer
from typing import TYPE_CHECKING, Any

from orchestration_project.domains.documents.extracted import Draft

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

WIDGET, POPUP, LINK, FILE = 20, 16, 2, 17
KINDS = {1: "comment", 3: "text box", 13: "stamp", FILE: "attachment", WIDGET: "field"}
"""Word for a subtype of annotation; others are marks in the text, such as highlights."""

MEDIA = {18: "sound", 19: "movie", 21: "screen", 25: "3D", 26: "rich media"}
"""Subtypes whose content is not text."""

HIDDEN = 2 | 32
"""Flags of annotations that are not shown on a screen."""

CHECKBOX, RADIO, LISTBOX = 2, 3, 5
XFA_FORM = 2
TEXT_OBJECT, FORM_OBJECT = 1, 5
MAX_NESTED_OBJECTS = 5


def open_forms(document: "PdfDocument", draft: Draft) -> None:
    """Make the values of a document's form readable; note a form that is not PDF's own."""
    kind = document.get_formtype()
    if kind == XFA_FORM:
        draft.note("content_left_out", "an XFA form")
    if kind:
        document.init_forms()


def annotation_lines(document: "PdfDocument", page: "PdfPage", draft: Draft) -> Iterator[str]:
    """Yield a line for each filled form field and each annotation with text, after its kind.

    Files of annotations are added to the draft as children.
    """
    from pypdfium2 import raw

    seen_names = set[str]()
    for position in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, position)
        if not annotation:
            draft.note("parts_unreadable", f"annotation {position + 1}")
            continue
        try:
            line = _render_line(_Annotation(document, annotation), draft)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
        if line and line not in seen_names:  # a field may be shown several times
            seen_names.add(line)
            yield line


def _render_line(annotation: "_Annotation", draft: Draft) -> str:
    """Return the line of an annotation, empty for one without text."""
    kind = annotation.subtype
    if kind in (POPUP, LINK) or annotation.is_hidden:
        return ""
    if kind in MEDIA:
        draft.note("content_left_out", f"an annotation with {MEDIA[kind]}")
    if kind == FILE:
        _add_file(annotation, draft)
    word = KINDS.get(kind, "mark")
    is_field = kind == WIDGET
    name = annotation.field_name if is_field else annotation.entry(b"T")
    text = annotation.field_value() if is_field else annotation.entry(b"Contents")
    if not text and not annotation.is_check_box and annotation.has_drawn_text():
        draft.note("content_left_out", f"the drawn text of a {word}")
    return f"[{' '.join([word, *name.split()])}] {text}" if text else ""


def _add_file(annotation: "_Annotation", draft: Draft) -> None:
    from pypdfium2 import PdfiumError

    try:
        attached_file = annotation.attached_file()
    except PdfiumError:
        attached_file = None
    if attached_file is None:
        draft.note("parts_unreadable", "attachment of an annotation")
    elif attached_file not in draft.children:
        draft.add_child(*attached_file)


class _Annotation:
    """An open annotation of a page."""

    def __init__(self, document: "PdfDocument", handle: Any) -> None:
        from pypdfium2 import raw

        self._raw, self._document, self._handle = raw, document, handle
        self.subtype: int = raw.FPDFAnnot_GetSubtype(handle)
        self.is_hidden = bool(raw.FPDFAnnot_GetFlags(handle) & HIDDEN)

    @property
    def _form(self) -> Any:
        environment = self._document.formenv
        return environment.raw if environment else None

    @property
    def _field_type(self) -> int:
        if self._form is None or self.subtype != WIDGET:
            return 0
        return self._raw.FPDFAnnot_GetFormFieldType(self._form, self._handle)

    @property
    def is_check_box(self) -> bool:
        """Whether it is a box or radio button, whose appearance draws its mark as text."""
        return self._field_type in (CHECKBOX, RADIO)

    def entry(self, key: bytes) -> str:
        """Return a text of the annotation's dictionary."""
        return _read_text(
            lambda buffer, size: self._raw.FPDFAnnot_GetStringValue(self._handle, key, buffer, size)
        )

    @property
    def field_name(self) -> str:
        """The full name of a form field."""
        if self._form is None:
            return self.entry(b"T")
        return _read_text(
            lambda buffer, size: self._raw.FPDFAnnot_GetFormFieldName(
                self._form, self._handle, buffer, size
            )
        )

    def field_value(self) -> str:
        """Return the value of a form field as it is shown, empty for none."""
        if self._form is None:  # of no form
            return self.entry(b"V")
        if self.is_check_box:
            return self._checked_value()
        if self._field_type == LISTBOX:
            return ", ".join(self._selected_options())
        return _read_text(
            lambda buffer, size: self._raw.FPDFAnnot_GetFormFieldValue(
                self._form, self._handle, buffer, size
            )
        )

    def _checked_value(self) -> str:
        if not self._raw.FPDFAnnot_IsChecked(self._form, self._handle):
            return ""
        value = _read_text(
            lambda buffer, size: self._raw.FPDFAnnot_GetFormFieldExportValue(
                self._form, self._handle, buffer, size
            )
        )
        return value or "checked"

    def _selected_options(self) -> Iterator[str]:
        for place in range(self._raw.FPDFAnnot_GetOptionCount(self._form, self._handle)):
            if self._raw.FPDFAnnot_IsOptionSelected(self._form, self._handle, place):
                yield _read_text(
                    lambda buffer, size, place=place: self._raw.FPDFAnnot_GetOptionLabel(
                        self._form, self._handle, place, buffer, size
                    )
                )

    def has_drawn_text(self) -> bool:
        """Return whether the appearance draws text; PDFium only reads the text of pages."""
        count = self._raw.FPDFAnnot_GetObjectCount(self._handle)
        items = (self._raw.FPDFAnnot_GetObject(self._handle, position) for position in range(count))
        return any(self._is_text(item, 0) for item in items)

    def _is_text(self, item: Any, depth: int) -> bool:
        """Return whether an object of a page is text, or has text within it."""
        kind = self._raw.FPDFPageObj_GetType(item)
        if kind != FORM_OBJECT or depth >= MAX_NESTED_OBJECTS:
            return kind == TEXT_OBJECT
        count = self._raw.FPDFFormObj_CountObjects(item)
        parts = (self._raw.FPDFFormObj_GetObject(item, position) for position in range(count))
        return any(self._is_text(part, depth + 1) for part in parts)

    def attached_file(self) -> tuple[str, bytes] | None:
        """Return name and content of the file of the annotation; None if it has none.

        Raises:
            PdfiumError: It cannot be read.
        """
        from pypdfium2 import PdfAttachment

        handle = self._raw.FPDFAnnot_GetFileAttachment(self._handle)
        if not handle:
            return None
        file = PdfAttachment(handle, self._document)
        return file.get_name(), bytes(file.get_data())


def _read_text(read: Callable[[Any, int], int]) -> str:
    """Return a text that a function of PDFium writes into a buffer, of which it returns the size.

    Line breaks become one kind; blanks around the text are left out.
    """
    size = read(None, 0)
    if size <= 2:
        return ""
    buffer = create_string_buffer(size)
    read(cast(buffer, POINTER(c_ushort)), size)
    text = buffer.raw.decode("utf-16-le", "surrogatepass").partition("\0")[0]
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
