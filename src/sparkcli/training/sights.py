"""The images of a phase's prompts: checked while it is read, placed when a pass needs them.

A record holds the token ids that its sampler read, and references to images. The pixels are made again here; what they
make of the prompt must be the same tokens, or the images, their largest size or the processor have changed since.
"""

from collections.abc import Iterable, Sequence

from sparkcli.errors import InputError
from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy
from sparkcli.models.sight import Placed, patches, text
from sparkcli.models.tower import vision_parameters
from sparkcli.training.samples import Sample


class Sights:
    """What the samples of a policy's phases show."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._pictures = policy, Pictures(policy)

    def place(self, sample: Sample) -> Placed:
        """A sample's prompt as the network runs it."""
        return text(sample.prompt_T) if sample.prompt is None else self._pictures.placed(sample.prompt)

    def check(self, groups: Iterable[Sequence[Sample]]) -> None:
        """Reads all images of a phase once, and sets what they cost; those of the phase before are forgotten.

        Raises:
            InputError: an image that is missing or no image, or a prompt that has other tokens with its images than
                were recorded; or images, and the model reads text only. The prompt is named.
        """
        self._pictures = Pictures(self._policy)
        is_trained = any(parameter.requires_grad for parameter in vision_parameters(self._policy.network).values())
        for group in groups:
            for sample in group:
                if sample.prompt is not None:
                    placed = self.place(sample)
                    check_tokens(sample, placed)
                    sample.patches = patches(self._policy.network, placed.pixels) if is_trained else 0


def check_tokens(sample: Sample, placed: Placed) -> None:
    """Raises InputError unless the prompt's tokens are those that were recorded."""
    found = tuple(placed.token_ids)
    if found != sample.prompt_T:
        what = (f"has {len(found)} tokens with its images, and {len(sample.prompt_T)} were recorded"
                if len(found) != len(sample.prompt_T) else "has other tokens with its images than were recorded")
        raise InputError(f"prompt {sample.id!r}: prompt_token_ids: it {what}; are these the images, the --max-pixels "
                         "and the model that it was sampled with?")
