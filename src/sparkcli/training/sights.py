"""The images of a phase's prompts: checked while it is read, placed when a pass needs them.

A record holds the token ids that its sampler read, and references to images. The pixels are made again here; what they
make of the prompt must be the same tokens, or the images, their largest size or the processor have changed since.
"""

import logging
from collections.abc import Sequence

from sparkcli.errors import InputError
from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy
from sparkcli.models.processor import scales_with_torchvision
from sparkcli.models.sight import Placed, patches, text
from sparkcli.models.tower import vision_parameters
from sparkcli.records import Rollout
from sparkcli.training.samples import Sample

log = logging.getLogger(__name__)


class Sights:
    """What the samples of a policy's phases show."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._pictures = policy, Pictures(policy)

    def place(self, sample: Sample) -> Placed:
        """A sample's prompt as the network runs it."""
        return text(sample.prompt_T) if sample.prompt is None else self._pictures.placed(sample.prompt)

    def check(self, groups: Sequence[Sequence[Sample]]) -> None:
        """Reads all images of a phase once, and sets what they cost; those of the phase before are forgotten. Warns
        where the sampler scaled them with other rounding.

        Raises:
            InputError: an image that is missing or no image, or a prompt that has other tokens with its images than
                were recorded; or images, and the model reads text only. The prompt is named.
        """
        self._pictures = Pictures(self._policy)
        self._warn_of_scaling([sample for group in groups for sample in group])
        is_trained = any(parameter.requires_grad for parameter in vision_parameters(self._policy.network).values())
        for group in groups:
            for sample in group:
                if sample.prompt is not None:
                    placed = self.place(sample)
                    check_tokens(sample, placed)
                    sample.patches = patches(self._policy.network, placed.pixels) if is_trained else 0

    def _warn_of_scaling(self, samples: Sequence[Sample]) -> None:
        """vLLM cannot do without torchvision, whose rounding differs from Pillow's; the tokens are the same."""
        processor = self._policy.reader.processor
        if processor is None or scales_with_torchvision(processor):
            return
        foreign = sum(sample.prompt is not None and "vllm" in sampler(sample.prompt) for sample in samples)
        if foreign:
            log.warning("%d of %d rollouts show images that vLLM scaled with torchvision, which is not installed here: "
                        "their log-probs differ by hundredths; pip install torchvision, or --correction truncate",
                        foreign, len(samples))


def sampler(rollout: Rollout) -> str:
    """The engine that a rollout names, and its version."""
    return rollout.sampling.engine if rollout.sampling else ""


def check_tokens(sample: Sample, placed: Placed) -> None:
    """Raises InputError unless the prompt's tokens are those that were recorded."""
    found = tuple(placed.token_ids)
    if found != sample.prompt_T:
        what = (f"has {len(found)} tokens with its images, and {len(sample.prompt_T)} were recorded"
                if len(found) != len(sample.prompt_T) else "has other tokens with its images than were recorded")
        raise InputError(f"prompt {sample.id!r}: prompt_token_ids: it {what}; are these the images, the --max-pixels "
                         "and the model that it was sampled with?")
