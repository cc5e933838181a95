"""The hub's one port: WebSocket sessions, the HTTP API, authentication."""
