"""vLLM: as an engine in this process, and as a server of its own.

    engine.py       prompts in, groups out        settings.py  what both are told
    opening.py      features, arguments, an LLM   server.py    flags and environment of the server
    holding.py      one policy at a time          child.py     a program that ends with this one, by its guardian.py
    containment.py  what must not change here     worker.py    what vLLM imports in its workers
"""
