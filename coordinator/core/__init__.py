"""The functional core: life cycle, queue, scheduler, backlog compiler.

Standard library only. No I/O, no clock, no randomness, no asyncio: time is an argument, a decision is a value, and
somebody else acts on it.
"""
