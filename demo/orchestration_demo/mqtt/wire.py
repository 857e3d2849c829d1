"""Packets of MQTT 3.1.1 and 5, as far as a bridge and a publisher with QoS 0 and 1 need them."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

MQTT_3_1_1, MQTT_5 = 4, 5
MAX_PACKET_BYTES = 268_435_460
"""Largest packet that a length of four bytes can describe."""


class Kind(IntEnum):
    """Kinds of packets."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


SESSION_EXPIRY, RECEIVE_MAXIMUM, MAXIMUM_QOS = 0x11, 0x21, 0x24

PROPERTY_SIZES = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, RECEIVE_MAXIMUM, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, SESSION_EXPIRY, 0x18, 0x27), 4),
}
"""Bytes of the properties that are numbers."""

TEXT_PROPERTIES = {0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F}
SUBSCRIPTION_ID, USER_PROPERTY = 0x0B, 0x26


class MalformedPacketError(Exception):
    """The bytes are not a packet of MQTT that this broker knows."""


class Packet(NamedTuple):
    """A packet: its kind, the four flags, and what follows its length."""

    kind: int
    flags: int
    body: bytes


class Properties(NamedTuple):
    """Properties of a packet of MQTT 5.

    Attributes:
        numbers: Those that are numbers.
        user: User properties, in their order; a name may occur twice.
    """

    numbers: dict[int, int]
    user: tuple[tuple[str, str], ...]


@dataclass
class Fields:
    """The fields of a packet, read one after the other."""

    body: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        found = self.body[self.position : self.position + size]
        if len(found) < size:
            raise MalformedPacketError("the packet is too short")
        self.position += size
        return found

    def number(self, size: int) -> int:
        """Return the next big-endian number."""
        return int.from_bytes(self.take(size), "big")

    def binary(self) -> bytes:
        """Return the next bytes with their length before them."""
        return self.take(self.number(2))

    def text(self) -> str:
        """Return the next text with its length before it."""
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedPacketError("a text is not UTF-8") from error

    def length(self) -> int:
        """Return the next number of one to four bytes with seven bits each."""
        value = shift = 0
        while shift <= 21:
            byte = self.number(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise MalformedPacketError("a length has more than four bytes")

    def properties(self) -> Properties:
        """Return the properties; other ones than numbers and user properties are passed over."""
        end = self.length() + self.position
        found: dict[int, int] = {}
        user: list[tuple[str, str]] = []
        while self.position < end:
            name = self.number(1)
            if name in PROPERTY_SIZES:
                found[name] = self.number(PROPERTY_SIZES[name])
            elif name == SUBSCRIPTION_ID:
                self.length()
            elif name in TEXT_PROPERTIES:
                self.binary()
            elif name == USER_PROPERTY:
                user.append((self.text(), self.text()))
            else:
                raise MalformedPacketError(f"property {name:#x} is unknown")
        return Properties(found, tuple(user))

    @property
    def rest(self) -> bytes:
        """All bytes that follow."""
        return self.body[self.position :]

    @property
    def has_more(self) -> bool:
        """Whether bytes follow."""
        return self.position < len(self.body)


def split(buffer: bytearray) -> list[Packet]:
    """Take all whole packets out of ``buffer``."""
    packets: list[Packet] = []
    while len(buffer) >= 2:
        fields = Fields(bytes(buffer[1:5]))
        try:
            size = fields.length()
        except MalformedPacketError:
            if len(buffer) >= 5:
                raise
            break
        start = 1 + fields.position
        if len(buffer) < start + size:
            break
        packets.append(Packet(buffer[0] >> 4, buffer[0] & 15, bytes(buffer[start : start + size])))
        del buffer[: start + size]
    return packets


def length(value: int) -> bytes:
    """Return a number as one to four bytes with seven bits each."""
    found = bytearray()
    while True:
        value, byte = divmod(value, 128)
        found.append(byte | (128 if value else 0))
        if not value:
            return bytes(found)


def packet(kind: Kind, body: bytes = b"", flags: int = 0) -> bytes:
    """Return a packet."""
    return bytes([kind << 4 | flags]) + length(len(body)) + body


def short(value: int) -> bytes:
    """Return a number of two bytes."""
    return value.to_bytes(2, "big")


def text(value: str) -> bytes:
    """Return a text with its length before it."""
    encoded = value.encode()
    return short(len(encoded)) + encoded


@dataclass(frozen=True)
class Connect:
    """Login of a client."""

    version: int
    is_clean: bool
    client_id: str
    properties: dict[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, body: bytes) -> "Connect":
        """Read the packet; user, password and last will are passed over."""
        fields = Fields(body)
        if fields.text() != "MQTT":
            raise MalformedPacketError("the protocol is not MQTT")
        version, flags, _ = fields.number(1), fields.number(1), fields.number(2)
        if version not in (MQTT_3_1_1, MQTT_5):
            raise MalformedPacketError("the version is neither 3.1.1 nor 5")
        properties = fields.properties().numbers if version == MQTT_5 else {}
        return cls(version, bool(flags & 2), fields.text(), properties)

    @property
    def keeps_session(self) -> bool:
        """Whether the session outlives the connection."""
        if self.version == MQTT_5:
            return bool(self.properties.get(SESSION_EXPIRY))
        return not self.is_clean

    def packet(self) -> bytes:
        """Return the packet, without user and password."""
        flags = 2 if self.is_clean else 0
        body = text("MQTT") + bytes([self.version, flags]) + short(60)
        if self.version == MQTT_5:
            expiry = self.properties.get(SESSION_EXPIRY, 0)
            body += length(5) + bytes([SESSION_EXPIRY]) + expiry.to_bytes(4, "big")
        return packet(Kind.CONNECT, body + text(self.client_id))


@dataclass(frozen=True)
class Publish:
    """A message on its way.

    Attributes:
        number: Packet identifier, 0 with QoS 0.
        user_properties: User properties of MQTT 5; a client with 3.1.1 gets none.
    """

    topic: str
    payload: bytes
    qos: int = 0
    is_retained: bool = False
    is_duplicate: bool = False
    number: int = 0
    user_properties: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, found: Packet, version: int) -> "Publish":
        """Read the packet of a client with this version."""
        fields = Fields(found.body)
        topic = fields.text()
        qos = found.flags >> 1 & 3
        number = fields.number(2) if qos else 0
        user = fields.properties().user if version == MQTT_5 else ()
        if not topic or set(topic) & set("+#\0") or qos > 1:
            raise MalformedPacketError("a topic with a wildcard, or QoS 2")
        is_retained, is_duplicate = bool(found.flags & 1), bool(found.flags & 8)
        return cls(topic, fields.rest, qos, is_retained, is_duplicate, number, user)

    def packet(self, version: int) -> bytes:
        """Return the packet for a client with this version."""
        flags = self.is_duplicate << 3 | self.qos << 1 | self.is_retained
        number = short(self.number) if self.qos else b""
        properties = b""
        if version == MQTT_5:
            user = b"".join(
                bytes([USER_PROPERTY]) + text(name) + text(value)
                for name, value in self.user_properties
            )
            properties = length(len(user)) + user
        return packet(Kind.PUBLISH, text(self.topic) + number + properties + self.payload, flags)


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic matches a filter with the wildcards + and #."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)
