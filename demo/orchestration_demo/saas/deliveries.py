"""Webhooks as both systems sign and send them, some twice, late or never."""

import hashlib
import hmac
import json
import random
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.error import HTTPError, URLError

from orchestration_demo.saas.issues import user_shown
from orchestration_demo.saas.people import PEOPLE, Json

SECONDS = 10
SIGNATURES = {"peopleforce": "X-PeopleForce-Signature", "jira": "X-Hub-Signature"}


@dataclass(frozen=True)
class Hook:
    """Webhook target of a system, and its signing secret."""

    url: str
    secret: str


@dataclass(frozen=True)
class Delivery:
    """One delivery that waits."""

    system: str
    number: int
    body: bytes

    def headers(self, secret: str) -> Mapping[str, str]:
        """Return its headers, the signature among them."""
        signature = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        own = {"X-Atlassian-Webhook-Identifier": f"demo-{self.number}"}
        return {
            "Content-Type": "application/json",
            SIGNATURES[self.system]: f"sha256={signature}",
            **(own if self.system == "jira" else {}),
        }


class Deliveries:
    """Queue of deliveries, sent on request; a system without a hook queues none."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._hooks: dict[str, Hook] = {}
        self._waiting: list[Delivery] = []
        self._count = 0

    def register(self, system: str, hook: Hook) -> None:
        """Have ``system`` deliver to ``hook`` from now on.

        Raises:
            KeyError: The system does not exist.
        """
        _ = SIGNATURES[system]
        self._hooks[system] = hook

    def tell_of_task(self, action: str, task: Json) -> None:
        """Note what happened to a task."""
        self._add("peopleforce", {"action": action, "data": task})

    def tell_of_issue(self, event: str, issue: Json, changes: list[Json]) -> None:
        """Note what happened to an issue; descriptions are text there, and no document."""
        fields = issue["fields"]
        plain = fields | {"description": None} if isinstance(fields, dict) else fields
        body: Json = {
            "timestamp": int(self._now().timestamp() * 1000),
            "webhookEvent": event,
            "user": user_shown(PEOPLE[0]),
            "issue": issue | {"fields": plain},
        }
        if event == "jira:issue_updated":
            body |= {"issue_event_type_name": "issue_generic"}
            body |= {"changelog": {"id": str(self._count), "items": changes}}
        self._add("jira", body)

    def send(
        self, *, seed: int, lost_share: float, twice_share: float, is_shuffled: bool
    ) -> list[int]:
        """Send what waits, and return the status of each answer; 0: there was none."""
        chance = random.Random(seed)  # noqa: S311 - to be repeated
        waiting, self._waiting = self._waiting, []
        sent = [each for each in waiting if chance.random() >= lost_share]
        sent += [each for each in sent if chance.random() < twice_share]
        if is_shuffled:
            chance.shuffle(sent)
        return [self._post(each) for each in sent]

    def _add(self, system: str, body: Json) -> None:
        if system in self._hooks:
            self._count += 1
            content = json.dumps(body, ensure_ascii=False).encode()
            self._waiting.append(Delivery(system, self._count, content))

    def _post(self, delivery: Delivery) -> int:
        hook = self._hooks[delivery.system]
        request = urllib.request.Request(  # noqa: S310 - an address that a test or a user gave
            hook.url, delivery.body, dict(delivery.headers(hook.secret)), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
                return answer.status
        except HTTPError as error:
            return error.code
        except (URLError, OSError):
            return 0
