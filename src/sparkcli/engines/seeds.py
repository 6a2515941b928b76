"""Where random streams begin, the same for all engines: a hash of (seed, prompt id, sample number)."""

import hashlib


def stream_key(seed: int, prompt_id: str, sample: int) -> int:
    """The key of one sample's random stream, a signed 64-bit integer."""
    return int.from_bytes(_digest(f"{seed}\0{prompt_id}\0{sample}"), "little", signed=True)


def prompt_seed(seed: int, prompt_id: str) -> int:
    """The seed of a prompt's group for samplers that count on from it, a sample each: 31 bits, which all of them take,
    with room for the counting."""
    return int.from_bytes(_digest(f"{seed}\0{prompt_id}")[:4], "little") % ((1 << 31) - (1 << 16))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8]
