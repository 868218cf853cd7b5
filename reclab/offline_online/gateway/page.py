"""What the gateway's OpenAPI description says, and a page that shows it without the internet.

Reference: OpenAPI specification 3.1. The usual page fetches its scripts from elsewhere.

Simplified: it shows, it does not send.
"""

from html import escape
from typing import Any

from reclab.offline_online.gateway.intake import STATUS
from reclab.offline_online.gateway.tracking_schema import KINDS, OPTIONAL, REQUIRED

_NUMBER: dict[str, Any] = {"type": ["string", "integer"]}
_EVENT = {
    "event_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{4,64}$"},
    "req_id": {**_NUMBER, "examples": ["r98765"]},
    "video_id": {**_NUMBER, "examples": ["v12345"]},
    "user_id": {**_NUMBER, "examples": [10086]},
    "kind": {"enum": list(KINDS)},
    "value": {"type": "number", "description": "seconds for watch, money for pay"},
    "event_ms": {"type": "integer", "description": "the device's clock"},
    "author_id": _NUMBER,
    "author_device_id": {"type": "string", "pattern": "^[0-9a-fA-F]{8}$"},
    "position": {"type": "integer", "minimum": 0},
    "network": {"enum": ["wifi", "mobile"]},
}
_BODY = {
    "type": "object",
    "required": ["device_id", "events"],
    "properties": {
        "device_id": {"type": "string", "pattern": "^[0-9a-fA-F]{8}$"},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": list(REQUIRED),
                "properties": _EVENT,
                "additionalProperties": False,
            },
        },
    },
}
BODY_SCHEMA = {"required": True, "content": {"application/json": {"schema": _BODY}}}
RESPONSES = {
    "200": {"description": "What is called accepted is in the log."},
    **{
        str(status): {"description": ", ".join(r for r, s in STATUS.items() if s == status)}
        for status in sorted(set(STATUS.values()))
    },
}
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
    "code{font-family:ui-monospace,monospace}"
)


def page(api: dict[str, Any]) -> str:
    """HTML of an OpenAPI description: operations, fields, answers."""
    title = escape(api["info"]["title"])
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"]
    parts += [f"<style>{_STYLE}</style><h1>{title} · 埋点网关</h1>"]
    parts += ["<p><a href=/openapi.json>openapi.json</a></p>"]
    for path, operations in api["paths"].items():
        for verb, operation in operations.items():
            parts += [f"<h2><code>{verb.upper()} {escape(path)}</code></h2>"]
            parts += [f"<p>{escape(operation.get('description', ''))}</p>"]
            if "requestBody" in operation:
                parts += [
                    _table("Field of an event", [(n, _about(n, f)) for n, f in _EVENT.items()])
                ]
            answers = operation.get("responses", {}).items()
            parts += [_table("Answer", [(code, a["description"]) for code, a in answers])]
    return "".join(parts) + "</html>"


def _about(name: str, schema: dict[str, Any]) -> str:
    optional = " (optional)" if name in OPTIONAL or name == "value" else ""
    return ", ".join(f"{key}: {value}" for key, value in schema.items()) + optional


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"<tr><td><code>{escape(a)}</code><td>{escape(b)}" for a, b in rows]
    return f"<table><tr><th>{title}<th>{''.join(lines)}</table>"
