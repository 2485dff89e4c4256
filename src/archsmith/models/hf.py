"""Models of Hugging Face transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import nn

from archsmith import trust
from archsmith.errors import InvalidModel, unknown
from archsmith.method import Paper
from archsmith.models._zoo import built, library
from archsmith.models.base import ModelSource

TASKS: Mapping[str, str] = {
    "image-classification": "AutoModelForImageClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "features": "AutoModel",
}
"""Task -> the class of transformers that builds a model for it."""

_CLASSIFICATION = ("image-classification", "text-classification")


@final
class HuggingFace(ModelSource):
    """Models of transformers: ``hf/FOLDER`` that ``save_pretrained`` wrote, or ``hf/ORG/NAME`` of the hub.

    Options: ``task`` (``classification`` unless given, of images or texts as the model's configuration says; or one of
    ``image-classification``, ``text-classification``, ``token-classification``, ``question-answering``, ``causal-lm``,
    ``masked-lm``, ``seq2seq-lm``, ``features``), ``pretrained`` (``False`` builds from the configuration alone), and
    entries of the configuration such as ``num_hidden_layers=4``. Weights are loaded in single precision, and code from
    the hub is never run.
    """

    paper = Paper(
        authors="Wolf, Thomas and Debut, Lysandre and Sanh, Victor and Chaumond, Julien and others",
        title="Transformers: State-of-the-Art Natural Language Processing",
        year=2020,
        venue="EMNLP: System Demonstrations",
        doi="10.18653/v1/2020.emnlp-demos.6",
    )
    without_weights: ClassVar[Mapping[str, Any]] = {"pretrained": False}

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The prefix ``hf/``."""
        return spec.startswith("hf/")

    def check(self, spec: str) -> None:
        """A folder must hold a configuration; names of the hub are checked only when the model is fetched."""
        trust.refuse(f"load {spec}")
        library("transformers", spec)
        folder = Path(_path(spec))
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise InvalidModel(f"{folder} has no config.json; give a folder that model.save_pretrained(FOLDER) wrote")

    def build(
        self,
        spec: str,
        *,
        channels: int | None = None,
        classes: int | None = None,
        image_size: Sequence[int] | None = None,
        tokens: int | None = None,
        vocabulary: int | None = None,
        **options: Any,
    ) -> nn.Module:
        """The model with a head for ``classes``; the head's weights are new where the folder's have another size."""
        self.check(spec)
        transformers = library("transformers", spec)
        task, pretrained = options.pop("task", "classification"), options.pop("pretrained", True)
        unaided = (
            "give a folder that model.save_pretrained(FOLDER) wrote, or pretrained=false to begin from random weights"
        )

        def make() -> Any:
            config = _configuration(transformers, spec, options)
            kind = getattr(transformers, TASKS[_task(transformers, config, task, spec)])
            _fit_images(config, channels, image_size, spec, pretrained=pretrained)
            _check_texts(config, tokens, vocabulary, spec)
            if classes is not None:
                config.num_labels = classes
            if not pretrained:
                return kind.from_config(config, dtype=torch.float32)
            return kind.from_pretrained(
                _path(spec), config=config, dtype=torch.float32, ignore_mismatched_sizes=classes is not None
            )

        return built(spec, make, options, unaided=unaided)


def _path(spec: str) -> str:
    return spec.removeprefix("hf/")


def _configuration(transformers: Any, spec: str, options: Mapping[str, Any]) -> Any:
    config, unused = transformers.AutoConfig.from_pretrained(_path(spec), return_unused_kwargs=True, **options)
    if wrong := sorted(options.keys() & unused.keys()):
        known = [name for name in config.to_dict() if not name.startswith("_")]
        raise unknown(f"entry in the configuration of {spec!r}", wrong[0], ["task", "pretrained", *known])
    return config


def _task(transformers: Any, config: Any, task: str, spec: str) -> str:
    """The task as a key of ``TASKS``.

    Raises:
        UnknownName: for another task.
        InvalidModel: when a classifier is wanted and transformers has none of this kind.
    """
    if task != "classification":
        if task not in TASKS:
            raise unknown("task", task, ["classification", *TASKS])
        return task
    for found in _CLASSIFICATION:
        if type(config) in getattr(transformers, TASKS[found])._model_mapping:
            return found
    raise InvalidModel(
        f"transformers has no classifier of the kind {config.model_type!r} for {spec!r}; give task= one of "
        f"{', '.join(TASKS)}"
    )


def _fit_images(
    config: Any, channels: int | None, image_size: Sequence[int] | None, spec: str, *, pretrained: bool
) -> None:
    """Adapt the configuration to the images, where no weights fix it."""
    side = None if image_size is None else image_size[0] if len(set(image_size)) == 1 else list(image_size)
    for name, wanted in (("num_channels", channels), ("image_size", side)):
        there = getattr(config, name, None)
        if wanted is None or there is None or there == wanted:
            continue
        if pretrained:
            raise InvalidModel(
                f"{spec!r} was trained with {name}={there}, the data have {wanted}: resize or convert the images "
                "(--resize), or begin from random weights with pretrained=false"
            )
        setattr(config, name, wanted)


def _check_texts(config: Any, tokens: int | None, vocabulary: int | None, spec: str) -> None:
    for name, wanted, way_out in (
        ("vocab_size", vocabulary, "use the tokenizer that belongs to the model"),
        ("max_position_embeddings", tokens, "give a smaller max_length"),
    ):
        there = getattr(config, name, None)
        if wanted is not None and isinstance(there, int) and wanted > there:
            raise InvalidModel(f"{spec!r} has {name}={there}, the data need {wanted}; {way_out}")
