"""Captured pages, requested again as a crawl requests them: robots.txt, rate, guard and switch."""

from orchestration_project.domains.web.sites import Site
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.errors import SourceError
from orchestration_project.resources.web.page_bytes import SOURCE
from orchestration_project.resources.web.sites import site_files_of
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.web import WebSettings


def _site_of(capture: RecordedCapture, settings: Settings) -> Site | None:
    return site_files_of(WebSettings.of(settings)).sites.get(capture.dataset)


def _is_page(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is a page of a declared site; what a browser renders is never the same twice."""
    is_on = capture.source == SOURCE and WebSettings.of(settings).web_source is not None
    site = _site_of(capture, settings) if is_on else None
    request = capture.request
    is_page = request.get("method") == "GET" and isinstance(request.get("url"), str)
    return is_page and site is not None and site.engine != "browser"


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    site = _site_of(capture, given.settings)
    if site is None:
        return None
    with given.open("web").open(site, given.warehouse, given.clock) as access:
        answer = access.get(capture.request["url"], {})
    if answer.response is None or answer.refusal:
        raise SourceError("the page may not be requested", found=answer.reason)
    return answer.response.body


RECOVERIES = [Recovery(way="source", applies=_is_page, read=_read)]
"""Pages of sites whose engine is http, without a login."""
