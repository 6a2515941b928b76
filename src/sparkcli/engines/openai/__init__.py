"""Sampling at OpenAI-compatible servers.

    engine.py    prompts in, groups out            greeting.py    what a server is, by asking
    servers.py   who gets the next prompt          policies.py    which policy a vLLM server samples
    dialects.py  how it is put and read            connection.py  HTTP and its failures
    background.py  the asyncio loop in its thread
"""
