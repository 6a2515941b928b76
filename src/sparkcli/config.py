"""One dataclass per stage: the only home of defaults, help texts and bounds.

Flags, recipe keys, environment variables and the reference in the docs derive from these classes. A field's value comes
from, in this order: the flag, the variable `SPARKCLI_<SECTION>_<FIELD>`, the recipe's `[section]`, the default here.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from sparkcli.errors import UsageError, nearest

C = TypeVar("C")


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None,
           flag: str | None = None) -> Any:
    """A field of a stage: default, help text, inclusive bounds, and its flags where `--field-name` will not do."""
    return field(default=default, metadata={"help": help, "low": low, "high": high, "flag": flag})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model, where it runs."""

    section: ClassVar[str] = "model"

    name: str = option("", "required: local folder, hub id, builtin:tiny-math or builtin:tiny-vision",
                       flag="-m,--model")
    policy: str | None = option(None, "policy directory written by train-step, on top of the model")
    engine: Literal["auto", "transformers", "vllm", "openai", "scripted"] = option(
        "auto", "what samples; auto: a server if one is given, vllm on a GPU if installed, else transformers; scripted "
                "is deterministic and needs no model (dry runs, tests)")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "weights in memory; auto: the checkpoint's on a GPU, float32 on a CPU (in `judge` bfloat16, where the "
                "checkpoint is and the CPU has units for it)")
    load_in_4bit: bool = option(False, "NF4 weights under the adapter (QLoRA); needs bitsandbytes")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto: a GPU where there is one")
    trust_remote_code: bool = option(False, "run model code that comes with the checkpoint")
    chat_template_kwargs: dict[str, Any] | None = option(
        None, "a variable of the chat template, e.g. enable_thinking=false; repeatable, or a JSON object; a prompt's "
              "own come first")
    max_pixels: int = option(1 << 20, "of an image as the model sees it; larger ones are scaled down", low=1)
    allow_remote_images: bool = option(False, "fetch images that prompts name by http or https")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """What every stage that samples can be told."""

    temperature: float = option(1.0, "0 is greedy; training divides its logits by it as well", low=0.0)
    top_p: float = option(1.0, "nucleus; below 1 it biases the importance ratio of training", low=0.0, high=1.0)
    top_k: int = option(0, "most likely tokens kept; 0: all", low=0)
    max_tokens: int = option(768, "new tokens per completion at most", low=1)
    max_prompt_tokens: int = option(8192, "a longer prompt is an error of that prompt, never cut", low=1)
    batch_size: int = option(256, "completions in flight at once", low=1)
    batch_tokens: int = option(1 << 18, "tokens in flight at once, prompts' included; halved when memory runs out "
                                        "(transformers)", low=1)
    seed: int = option(0, "same seed, same completions, whatever the batch size", low=0)
    vllm: dict[str, Any] | None = option(None, "an argument of vllm.LLM as it is, e.g. "
                                               "tensor_parallel_size=8; repeatable")

    def drawing(self, samples: int) -> "RolloutConfig":
        """The same sampling with `samples` completions per prompt, as engines read it."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(SamplingConfig)}
        return RolloutConfig(samples=samples, **shared)


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(SamplingConfig):
    """How completions are sampled."""

    section: ClassVar[str] = "rollout"

    samples: int = option(8, "completions per prompt", low=1, flag="-n,--samples")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """OpenAI-compatible servers that sample."""

    section: ClassVar[str] = "server"

    base_url: tuple[str, ...] = option((), "server, e.g. http://127.0.0.1:8000/v1; repeatable, they share the work")
    served_name: str | None = option(None, "what the servers call the model; unset: as -m names it, or the only one")
    api_key_env: str = option("OPENAI_API_KEY", "environment variable that holds the API key")
    api_key_file: str | None = option(None, "file that holds the API key, over the variable")
    concurrency: int = option(64, "prompts in flight at each server", low=1)
    timeout: float = option(600.0, "seconds for one reply; then it is asked for again", low=0.1)
    retries: int = option(4, "times a prompt is asked for again, at another server if there is one", low=0)
    patience: float = option(60.0, "seconds without any server that answers, until the command gives up", low=0.0)
    sync_adapters: bool = option(False, "load --policy into the servers (vLLM's, that see its folder) at run time")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """A vLLM server that is ready for training."""

    section: ClassVar[str] = "serve"

    host: str = option("127.0.0.1", "address to listen at; policies can be loaded by whoever reaches it")
    port: int = option(8000, "port to listen at; 0: a free one", low=0, high=65535)
    served_name: str | None = option(None, "what clients call the model; unset: as -m names it")
    max_lora_rank: int = option(64, "largest rank of an adapter that can be loaded; 0: full weights only", low=0)
    max_model_len: int | None = option(None, "tokens of prompt and completion at most; unset: the model's context",
                                       low=1)
    wait: float = option(900.0, "seconds until it must be healthy", low=1.0)
    vllm: dict[str, Any] | None = option(None, "an argument of vLLM's server as it is, e.g. "
                                               "data_parallel_size=8; repeatable")


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """How completions are checked."""

    section: ClassVar[str] = "verify"

    verifier: str = option("math", "for records that name none: a name, JSON with options, or module:function")
    jobs: int = option(0, "worker processes; 0: one per core", low=0)
    timeout: float = option(5.0, "seconds for one completion; its worker is then killed", low=0.1)
    memory: int = option(2048, "MiB of memory (address space) of a worker", low=256)
    max_error_share: float = option(0.05, "larger share of null rewards: exit code 4", low=0.0, high=1.0)
    on_error: Literal["stop", "skip"] = option("stop", "at a line that is no rollout, or names an unknown verifier: "
                                                       "stop, or skip it with a warning; a loop always stops")


@dataclass(frozen=True, kw_only=True)
class ShapingConfig:
    """What is added to the outcome as the reward; each weight of 0 switches its term off."""

    section: ClassVar[str] = "shaping"

    overlong_weight: float = option(0.0, "of the soft overlong punishment (DAPO)", low=0.0)
    overlong_limit: int | None = option(None, "tokens at which it is whole; unset: the rollout's max_tokens", low=1)
    overlong_buffer: int | None = option(None, "tokens before the limit over which it grows; unset: a fifth", low=0)
    format_weight: float = option(0.0, "reward where the completion has the format", low=0.0)
    format_pattern: str = option(r"\\boxed\{", "regular expression, searched for in the reply; in thoughts too if it "
                                 "names their tags; a dot is any character")
    repetition_weight: float = option(0.0, "of the share of word n-grams that were there before", low=0.0)
    repetition_ngram: int = option(3, "words of an n-gram", low=1)


@dataclass(frozen=True, kw_only=True)
class RecycleConfig:
    """How verified rollouts become judge and reflection prompts."""

    section: ClassVar[str] = "recycle"

    pair_share: float = option(0.7, "mixed groups that become a pair; the others a single answer", low=0.0, high=1.0)
    max_judge: int | None = option(None, "judge prompts (single and pair) at most, drawn at random; unset: all", low=0)
    max_reflect: int | None = option(None, "reflection prompts at most, drawn at random; unset: all", low=0)
    attempt: Literal["cot", "answer", "both"] = option(
        "both", "what a reflection prompt shows: whole solution, final answer, or each for half of the groups")
    shown: Literal["answer", "solution"] = option("answer", "what a judge prompt shows of a completion")
    balance: bool = option(False, "drop judge prompts at random until right and wrong answers are equally many")
    templates: str | None = option(None, "folder with pointwise.toml, pairwise.toml, reflection.toml; unset: built in")
    seed: int = option(0, "each draw depends on this and the prompt's id alone, not on order or sharding", low=0)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One phase of policy updates on scored rollouts."""

    section: ClassVar[str] = "train"
    headings: ClassVar[Mapping[str, str]] = types.MappingProxyType({
        "method": "What is trained", "lr": "Optimiser", "loss": "Objective", "correction": "Sampler's mismatch",
        "tokens_per_batch": "Memory and order"})
    """Of the help, each from the field on that it stands at."""

    method: Literal["lora", "full"] = option("lora", "train an adapter, or every weight")
    lora_rank: int = option(16, "rank of a new adapter", low=1)
    lora_alpha: int = option(32, "scale of a new adapter is alpha / rank, or alpha / √rank with rslora")
    lora_targets: tuple[str, ...] = option(("all-linear",), "layers that get an adapter, by name, e.g. q_proj,v_proj")
    train_vision: bool = option(False, "train a vision model's image encoder as well; else it is frozen")
    lora_dropout: float = option(0.0, "dropout before a new adapter, while training", low=0.0, high=0.99)
    lora_rslora: bool = option(False, "rank-stabilised scale of a new adapter")
    lr: float = option(1e-5, "peak learning rate of AdamW", low=0.0)
    schedule: Literal["constant", "linear", "cosine"] = option("constant", "after warm-up; decays need total-updates")
    warmup_updates: int = option(0, "updates over which the rate rises", low=0)
    total_updates: int | None = option(None, "updates of the whole run, over all calls; where a decay reaches 0", low=1)
    beta1: float = option(0.9, "AdamW", low=0.0, high=1.0)
    beta2: float = option(0.95, "AdamW", low=0.0, high=1.0)
    weight_decay: float = option(0.0, "AdamW, decoupled", low=0.0)
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm; 0: not", low=0.0)
    updates: int = option(8, "optimiser updates per epoch; the samples are dealt out evenly", low=1)
    epochs: int = option(1, "passes over the samples per call", low=1)
    loss: Literal["spark", "grpo", "dr-grpo", "rloo", "reinforce++", "dapo", "bnpo", "gspo", "cispo"] = option(
        "spark", "objective: an advantage, a surrogate, a mean and a clip")
    advantage: Literal["group", "mean", "leave-one-out", "batch"] | None = option(
        None, "reward less the group's mean, by its deviation or not; less the others' mean; or normed over the call")
    average: Literal["token", "group", "completion", "constant"] | None = option(
        None, "mean over an update's tokens; over groups of token means; over completions; tokens / max-tokens")
    clip: float | None = option(None, "probability ratio is clipped at 1 − this", low=0.0)
    clip_high: float | None = option(None, "and at 1 + this; unset: the loss's own, or as a given clip", low=0.0)
    kl: float = option(0.001, "weight of the KL to the reference policy; 0 skips the reference pass", low=0.0)
    kl_estimator: Literal["k1", "k2", "k3"] = option("k3", "of the KL, per token")
    kl_in: Literal["loss", "reward"] = option("loss", "a term of the loss, or taken off the reward beforehand")
    entropy_bonus: float = option(0.0, "weight of the mean entropy, which the loss then raises", low=0.0)
    constant_groups: Literal["drop", "keep"] | None = option(
        None, "groups of equal rewards: left out, or counted in the loss's mean; unset: as the loss has it")
    truncated: Literal["keep", "mask"] = option("keep", "completions cut at max-tokens: train on them, or not")
    correction: Literal["none", "truncate", "mask"] = option(
        "none", "of the sampler's mismatch: importance weights, cut at the cap or zero above it")
    correction_level: Literal["token", "sequence"] = option("token", "a weight per token or per completion")
    correction_cap: float = option(3.0, "largest importance weight", low=1.0)
    allow_stale: bool = option(False, "take rollouts of other policies than the parent; corrected by truncation "
                                      "unless told otherwise")
    score_missing: bool = option(False, "take rollouts that are text alone: token ids and log-probs are computed as if "
                                        "the parent had sampled them")
    tokens_per_batch: int = option(16384, "tokens in one forward pass at most; halved when memory runs out", low=1)
    gradient_checkpointing: bool = option(False, "recompute activations: less memory, about a third slower")
    seed: int = option(0, "order of the samples", low=0)


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(SamplingConfig):
    """The model as generative reward model."""

    section: ClassVar[str] = "judge"

    temperature: float = option(0.0, "0 is greedy", low=0.0)
    mode: Literal["pointwise", "pairwise"] = option("pointwise", "each answer alone, or each pair of them")
    votes: int = option(1, "verdicts asked for per answer or pair, each with another wording", low=1)
    swap: bool = option(True, "pairwise: ask in both orders, so that position cannot win")
    shown: Literal["answer", "solution"] = option("answer", "what the judge sees of a completion")
    templates: str | None = option(None, "folder with the wordings; unset: built in")


@dataclass(frozen=True, kw_only=True)
class ReflectConfig(SamplingConfig):
    """Self-correction at test time."""

    section: ClassVar[str] = "reflect"

    temperature: float = option(0.0, "0 is greedy", low=0.0)
    rounds: int = option(2, "reflections at most; a Yes of the judge ends them", low=0)
    select: Literal["last", "judge", "majority"] = option(
        "last", "which answer counts: the last, the last that the judge accepted, or the most frequent")
    templates: str | None = option(None, "folder with the wordings; unset: built in")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """How foreign rows become prompts."""

    section: ClassVar[str] = "prepare"

    split: str = option("train", "split of a hub dataset or of a built-in task")
    limit: int | None = option(None, "prompts at most", low=0)
    shuffle: bool = option(False, "random order (buffers the input)")
    seed: int = option(0, "of the shuffle, and of builtin problems", low=0)
    map: tuple[str, ...] = option((), "FIELD=COLUMN for other layouts, e.g. question=problem; repeatable")
    instruction: str | None = option(None, "sentence to put after each question, e.g. to ask for \\boxed{}")
    keep_reply: bool = option(False, "leave the assistant's last message in a chat's prompt, to be continued; "
                                     "else it is the reference reply, and left out")
    verifier: str | None = option(None, "verifier to write into each prompt")
    images: str | None = option(None, "folder for images that the source holds as bytes; unset: beside the output, "
                                      "NAME-images")
    allow_remote_images: bool = option(False, "fetch images named by http or https, and keep them as files")
    on_error: Literal["stop", "skip"] = option("stop", "at a row that makes no prompt: stop, or skip it with a warning")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """One page on records or a run."""

    section: ClassVar[str] = "report"

    out: str | None = option(None, "page to write; unset: NAME.html beside the file, report.html in a run",
                             flag="-o,--out")
    limit: int = option(100, "prompts shown at most, those with unlike verdicts first", low=1)
    allow_remote_images: bool = option(False, "fetch images named by http or https, and put them into the page")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The held-out evaluation of a run, and of `bench run`."""

    section: ClassVar[str] = "eval"

    prompts: str = option("", "held-out prompts: a file or builtin:NAME/SPLIT; empty: none")
    limit: int = option(512, "items per ability at most", low=1)
    every: int = option(0, "steps between evaluations during the run; 0: before and after only", low=0)
    during: int = option(128, "items per ability in the evaluations during the run", low=1)
    scaling: str = option("", "held-out prompts for voting, best-of-N and self-reflection; empty: none")
    scaling_limit: int = option(256, "prompts of test-time scaling at most", low=1)
    scaling_samples: int = option(8, "answers sampled for each of them", low=2)
    seed: int = option(0, "of built-in problems", low=0)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The whole loop."""

    section: ClassVar[str] = "loop"

    prompts: str = option("", "training prompts: a file or builtin:NAME/SPLIT")
    out: str = option("runs/spark", "run directory", flag="-o,--out")
    steps: int = option(32, "steps; one is a policy update and, once enough is queued, a recycled update", low=1)
    prompts_per_step: int = option(64, "prompts of the policy update", low=1)
    recycle: bool = option(True, "recycle rollouts into judge and reflection prompts; off: plain GRPO")
    queue_batch: int = option(64, "recycled prompts of a recycled update, first in first out", low=1)
    seed: int = option(0, "step k samples, recycles and trains with seed + k", low=0)
    keep: int = option(2, "policies and step folders kept, newest first", low=1)


SECTIONS: Mapping[str, type] = types.MappingProxyType({cls.section: cls for cls in (
    LoopConfig, ModelConfig, PrepareConfig, RolloutConfig, ServerConfig, ServeConfig, VerifyConfig, ShapingConfig,
    RecycleConfig, TrainConfig, JudgeConfig, ReflectConfig, EvalConfig, ReportConfig)})


def resolve(cls: type[C], flags: Mapping[str, Any], environ: Mapping[str, str], recipe: Mapping[str, Any]) -> C:
    """The settings of one stage. `flags` holds None where no flag was given; `recipe` is the whole recipe.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or one out of bounds; names where it came from.
    """
    check_recipe(recipe)
    section: str = cls.section  # type: ignore[attr-defined]
    values: dict[str, Any] = {}
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        variable = f"SPARKCLI_{section}_{f.name}".upper()
        if flags.get(f.name) is not None:
            values[f.name] = checked(cls, f.name, flags[f.name], flag_names(f)[-1])
        elif variable in environ:
            values[f.name] = checked(cls, f.name, parse_text(cls, f.name, environ[variable], variable), variable)
        elif f.name in recipe.get(section, {}):
            values[f.name] = checked(cls, f.name, recipe[section][f.name], f"recipe: {section}.{f.name}")
    return cls(**values)


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """Raises UsageError for a section or key that no stage has, with the nearest one that exists."""
    for section, keys in recipe.items():
        if section not in SECTIONS:
            raise UsageError(f"recipe: unknown section [{section}]{nearest(section, SECTIONS)}")
        if not isinstance(keys, dict):
            raise UsageError(f"recipe: {section}: expected a section [{section}], found a value")
        for key in keys:
            names = [f.name for f in dataclasses.fields(SECTIONS[section])]
            if key not in names:
                raise UsageError(f"recipe: {section}.{key}: unknown key{nearest(key, names)}")


def parse_text(cls: Any, name: str, text: str, where: str) -> Any:
    """A value written as text (environment, `--set`) as the field's type; a list is split at commas, a mapping is a
    JSON object."""
    kind, allows_none = field_type(cls, name)
    if allows_none and text.lower() in ("", "none"):
        return None
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is tuple:
            return tuple(text.split(","))
        if kind is dict:
            return json.loads(text)
        return kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        raise UsageError(f"{where}: expected {kind.__name__}, found {text!r}") from None


def checked(cls: Any, name: str, value: Any, where: str) -> Any:
    """`value` as the field holds it, or a UsageError that opens with `where`."""
    kind, allows_none = field_type(cls, name)
    if value is None and allows_none:
        return None
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if kind is dict and isinstance(value, list) and all(isinstance(text, str) for text in value):
        value = _pairs(value, where)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"{where}: expected {kind.__name__}, found {value!r}")
    choices = field_choices(cls, name)
    if choices and value not in choices:
        raise UsageError(f"{where}: {value!r} is not one of {', '.join(choices)}")
    meta = next(f for f in dataclasses.fields(cls) if f.name == name).metadata
    low, high = meta["low"], meta["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
        raise UsageError(f"{where}: {value} is out of bounds; expected {bounds}")
    return value


def literal(text: str) -> Any:
    """A value of no declared type: JSON where it is that (a number, true, a list), a word of Python for one, else the
    text itself."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text


def _pairs(texts: list[str], where: str) -> dict[str, Any]:
    """`KEY=VALUE` texts, or JSON objects, as a mapping."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        given = literal(text)
        if isinstance(given, dict):
            found |= given
        elif key and equals:
            found[key] = literal(value)
        else:
            raise UsageError(f"{where}: expected KEY=VALUE or a JSON object, found {text!r}")
    return found


def field_type(cls: Any, name: str) -> tuple[type, bool]:
    """The plain type of a field (bool, int, float, str, tuple or dict), and whether None is allowed."""
    members = _members(cls, name)
    kind = next(member for member in members if member is not types.NoneType)
    origin = typing.get_origin(kind)
    return (str if origin is Literal else origin or kind), types.NoneType in members


def field_choices(cls: Any, name: str) -> tuple[str, ...]:
    """The values that a choice allows; empty for a field that is no choice."""
    return next((typing.get_args(kind) for kind in _members(cls, name) if typing.get_origin(kind) is Literal), ())


def _members(cls: Any, name: str) -> tuple[Any, ...]:
    """The types that a field's union names; of a field that is no union, its type alone."""
    hint = typing.get_type_hints(cls)[name]
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)  # Literal | None is the older kind
    return typing.get_args(hint) if is_union else (hint,)


def flag_names(f: "dataclasses.Field[Any]") -> list[str]:
    """`["-n", "--samples"]`: what the command line calls a field; the long form last."""
    return (f.metadata["flag"] or f"--{f.name.replace('_', '-')}").split(",")
