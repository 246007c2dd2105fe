"""The language that clients and server speak over a WebSocket: shapes, framing, exports."""
