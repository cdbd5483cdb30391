"""Chance damage to good files: of bytes, of JSON values, and of safetensors headers."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

BYTES = (0, 1, 0x7F, 0x80, 0xFF, ord('"'), ord("{"), ord("["), ord("9"), ord("-"))
WHOLE = (0, -1, 1, 2, 255, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30)
NUMBERS = (*WHOLE, 0.5, -0.5, 1e-300, 1e308, float("nan"), float("inf"), float("-inf"))
PATHS = ("../../x", "/etc/passwd")
TEXTS = (*PATHS, "", "a", "1", "A" * 1000, "A" * 300_000, "\x1b[2J", "\u202ea", "<b>x</b>", "\ud800")
VALUES = (*NUMBERS, *TEXTS, None, True, False, [], {}, [[]], {"a": 1})


def damaged(content: bytes, chance: random.Random) -> bytes:
    """`content` after one to four changes of its bytes."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        chance.choice(CHANGES)(changed, chance)
    return bytes(changed)


def _flip(content: bytearray, chance: random.Random) -> None:
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _set(content: bytearray, chance: random.Random) -> None:
    if content:
        content[_place(content, chance)] = chance.choice(BYTES)


def _integer(content: bytearray, chance: random.Random) -> None:
    """A number of 2, 4 or 8 bytes becomes an extreme one."""
    width = chance.choice((2, 4, 8))
    if len(content) > width:
        at = min(_place(content, chance), len(content) - width)
        limit = 2 ** (8 * width)
        value = chance.choice((0, 1, limit - 1, limit // 2 - 1, 2 ** (4 * width), 65_535))
        order = chance.choice(("little", "big"))
        content[at : at + width] = (value % limit).to_bytes(width, order)


def _cut(content: bytearray, chance: random.Random) -> None:
    if content:
        del content[_place(content, chance) :]


def _remove(content: bytearray, chance: random.Random) -> None:
    if content:
        at = _place(content, chance)
        del content[at : at + chance.choice((1, 2, 4, 8, 100))]


def _repeat(content: bytearray, chance: random.Random) -> None:
    if content:
        at = _place(content, chance)
        content[at:at] = content[at : at + chance.choice((1, 2, 4, 8, 100))]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip,) * 4, *(_set,) * 3, *(_integer,) * 4, _cut, _remove, _repeat,
)  # fmt: skip


def _place(content: bytearray, chance: random.Random) -> int:
    """A position; as often in the first kilobyte, where headers are, as anywhere."""
    return chance.randrange(min(len(content), chance.choice((16, 1024, len(content)))) or 1)


def damaged_value(value: Any, chance: random.Random) -> Any:
    """A JSON value with one change somewhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        return _damaged_dict(value, chance)
    if isinstance(value, list) and value and chance.random() < 0.8:
        return _damaged_list(value, chance)
    if isinstance(value, int | float) and chance.random() < 0.4:
        return chance.choice((value + 1, value - 1, -value, value * 1000, float(value), str(value)))
    if isinstance(value, str) and value and chance.random() < 0.3:
        return damaged(value.encode("utf-8", "replace"), chance).decode("utf-8", "replace")
    if chance.random() < 0.05:
        return _nested(chance.choice((5, 50, 500)))
    return chance.choice(VALUES)


def _damaged_dict(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    key, what = chance.choice(list(value)), chance.random()
    if what < 0.1:
        return {k: v for k, v in value.items() if k != key}
    if what < 0.2:
        return value | {str(chance.choice(TEXTS)): chance.choice(VALUES)}
    return value | {key: damaged_value(value[key], chance)}


def _damaged_list(value: list[Any], chance: random.Random) -> list[Any]:
    at, what = chance.randrange(len(value)), chance.random()
    if what < 0.15:
        return value[:at] + value[at + 1 :]
    if what < 0.3:
        return value * chance.choice((2, 300))
    return [*value[:at], damaged_value(value[at], chance), *value[at + 1 :]]


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, body: bytes) -> bytes:
    """A safetensors file."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def damaged_header(content: bytes, chance: random.Random) -> bytes:
    """A safetensors file with a change in what its header says of a tensor, or in a string."""
    header, body = parts(content)
    return joined(damaged_value(header, chance), body)


def damaged_metadata(content: bytes, chance: random.Random) -> bytes:
    """An adapter's file with one or two changes in its metadata; JSON stays JSON."""
    header, body = parts(content)
    metadata = dict(header["__metadata__"])
    for _ in range(chance.randint(1, 2)):
        key = chance.choice(list(metadata))
        try:
            metadata[key] = json.dumps(damaged_value(json.loads(metadata[key]), chance))
        except ValueError:
            metadata[key] = str(damaged_value(metadata[key], chance))
    return joined({**header, "__metadata__": metadata}, body)
