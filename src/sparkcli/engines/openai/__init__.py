"""Sampling at OpenAI-compatible servers.

    engine.py    prompts in, groups out            greeting.py    what a server is, by asking
    servers.py   who gets the next prompt          policies.py    which policy a vLLM server samples
    dialects.py  how it is put                     connection.py  HTTP and its failures
    replies.py   how it is read                    images.py      images within messages
    background.py  the asyncio loop in its thread
"""
