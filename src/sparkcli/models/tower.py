"""What of a network reads images: all that belongs neither to its language model nor to the head over the vocabulary.

In Qwen's families that is the vision tower with its merger; in LLaVA's, tower and projector. It is found by what
transformers says the language model is, not by names.
"""

from torch.nn import Module, Parameter
from transformers import PreTrainedModel

from sparkcli.models.network import sees


def language_modules(network: PreTrainedModel) -> set[Module]:
    """The modules of the language model, its embeddings and its head; of a network that reads text only, all."""
    if not sees(network.config):
        return set(network.modules())
    parts = network.get_decoder(), network.get_input_embeddings(), network.get_output_embeddings()
    return {module for part in parts if part is not None for module in part.modules()}


def vision_parameters(network: PreTrainedModel) -> dict[str, Parameter]:
    """The weights of what reads images, an adapter's there included, by name; none in a network that reads text only.
    """
    if not sees(network.config):
        return {}
    language = {id(parameter) for module in language_modules(network)
                for parameter in module.parameters(recurse=False)}
    return {name: parameter for name, parameter in network.named_parameters() if id(parameter) not in language}
