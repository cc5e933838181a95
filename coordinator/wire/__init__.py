"""The wire contract: one pydantic model per frame, shared by the hub and the sidecar.

This package knows shapes and limits. It knows nothing of tasks' life cycles, sockets or files.
"""
