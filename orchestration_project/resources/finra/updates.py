"""The question which weeks of a tier FINRA has updated, in the words of its Query API."""

from collections.abc import Mapping
from datetime import date


def updates_query(
    tier: str, *, before: date, since: date, until: date, limit: int
) -> Mapping[str, object]:
    """Return the query for rows of weeks before ``before`` that were updated between two days.

    `lastUpdateDate` has a day, no time, and a range of days counts both ends.
    """
    return {
        "fields": ["weekStartDate"],
        "compareFilters": [
            {"fieldName": "tierIdentifier", "fieldValue": tier, "compareType": "EQUAL"},
            {
                "fieldName": "weekStartDate",
                "fieldValue": before.isoformat(),
                "compareType": "LESSER",
            },
        ],
        "dateRangeFilters": [
            {
                "fieldName": "lastUpdateDate",
                "startDate": since.isoformat(),
                "endDate": until.isoformat(),
            }
        ],
        "limit": limit,
        "offset": 0,
    }
