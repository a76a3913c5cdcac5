"""A stack of convolutional sparse decompositions with encoders, trained stage by stage, then for labels if there are any."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.contrast import ContrastNorm
from ancestral.layers.dictionaries import Convolutional
from ancestral.layers.mlp import check_sizes
from ancestral.models.base import Model
from ancestral.models.few_labels import classes_of, split_labels
from ancestral.models.registry import register
from ancestral.models.representation.predictive import Predictive, check_prediction, squashed


@register("conv-psd")
class ConvPSD(Model):
    r"""h_0 = N(x), h_s = P(N(|p_s(h_(s-1))|)), p_s(h) = squash(W_s * h + b_s); for labels, logits A h_S + c.

    N is local contrast normalisation, P average pooling. A stage is learned without labels, as a predictive sparse
    decomposition of the maps below it: min over D, W and codes z, a map z_k for each atom, of

        E[1/2 ||h - sum_k z_k * d_k||^2 + l |z|_1 + a/2 ||z - p(h)||^2],   ||d_k|| <= 1.

    For `stage_steps` steps the first stage learns, for as many the second, and so on. Without labels the top stage goes on
    after that. With labels a linear classifier learns along with the top stage, and then, with `finetune`, all W, b and the
    classifier do, by the cross-entropy on labelled data. A condition is a class and whether it is known: load data with
    `labelled=n` (`--data.labelled n`). Stages learn from the data without label, among which the others are, too.

    Args:
        event: what a datum is, an image.
        condition: labels of K classes and of 2; None to learn features alone.
        maps: atoms of each stage, which are the maps that it hands on.
        kernel: rows and columns of an atom.
        pool: rows and columns that are averaged over, without overlap.
        window: rows and columns of the window of the contrast normalisation, odd.
        penalty: l, positive: the larger, the fewer entries of codes are other than 0.
        prediction: a, at least 0: what it costs a code to differ from the prediction.
        encoder: squash, shrink (sign(v) max(|v| - t, 0) with a threshold t for each map), or tanh with a gain for each.
        tolerance: duality gap at which codes are good enough to learn from, relative to the objective of z = 0.
        code_steps: steps of the solver after which codes are taken as they are.
        stage_steps: training steps of each stage; 0 to start from random stages.
        finetune: whether stages learn from labels, too; else the classifier alone does.
        label_rate: learning rate of what is learned from labels over that of the stages.

    Raises:
        InvalidInput: if an option is out of range, an atom does not fit into the maps below it, the condition is another, or
            there is nothing to learn.

    References:
        Learning Convolutional Feature Hierarchies for Visual Recognition (Kavukcuoglu, Sermanet, Boureau, Gregor, Mathieu &
        LeCun, 2010), https://papers.nips.cc/paper/4133-learning-convolutional-feature-hierarchies-for-visual-recognition.
        There codes reach over the border of the image, and the shrinkage is smooth.
        What is the Best Multi-Stage Architecture for Object Recognition? (Jarrett, Kavukcuoglu, Ranzato & LeCun, 2009),
        https://doi.org/10.1109/ICCV.2009.5459469, for the stage. There second-stage maps look at a few of the first only,
        pools overlap, and stages are learned on patches.

    >>> model = ConvPSD(Event.real((1, 12, 12)), Event.labels((3, 2)), maps=(4, 6), kernel=3).eval()
    >>> model.classify(torch.zeros(5, 1, 12, 12)).shape, model.features(torch.zeros(5, 1, 12, 12)).shape
    (torch.Size([5, 3]), torch.Size([5, 6, 2, 2]))
    """

    family = "representation"
    summary = "stack of convolutional sparse decompositions with encoders, fine-tuned where there are labels"
    reference = "Kavukcuoglu et al. 2010"
    images_only = True
    monitor = "objective"
    training_defaults = {"learning_rate": 1e-2, "batch_size": 50, "evaluate_limit": 500}
    examples = (
        {"event": Event.integers((1, 4, 4), 3), "maps": (3, 4), "kernel": 2, "window": 3, "penalty": 0.05, "stage_steps": 2},
        {
            "event": Event.binary((2, 3, 4)),
            "condition": Event.labels((2, 2)),
            "maps": (4,),
            "kernel": 2,
            "window": 3,
            "penalty": 0.05,
            "encoder": "tanh",
            "stage_steps": 2,
        },
        {
            "event": Event.real((4, 5, 5)),
            "condition": Event.labels((2, 2)),
            "maps": (3, 2),
            "kernel": 2,
            "window": 3,
            "penalty": 0.05,
            "prediction": 0.0,
            "stage_steps": 1,
            "finetune": False,
        },
    )

    def __init__(
        self,
        event: Event,
        condition: Event | None = None,
        *,
        maps: Sequence[int] = (16, 32),
        kernel: int = 5,
        pool: int = 2,
        window: int = 9,
        penalty: float = 0.3,
        prediction: float = 1.0,
        encoder: str = "shrink",
        tolerance: float = 0.03,
        code_steps: int = 30,
        stage_steps: int = 500,
        finetune: bool = True,
        label_rate: float = 0.1,
    ) -> None:
        super().__init__(event, condition)
        check_sizes("maps", tuple(maps))
        check_sizes("a stage", (kernel, pool, code_steps))
        check_prediction(prediction, encoder)
        for name, value in (("penalty", penalty), ("tolerance", tolerance), ("label_rate", label_rate)):
            if not value > 0.0:
                raise InvalidInput(f"{name} is {value}, expected a positive number")
        if stage_steps < 0 or not maps or (condition is None and stage_steps == 0):
            raise InvalidInput(
                f"got maps={tuple(maps)} and stage_steps={stage_steps}, expected one stage at least, and steps to train it in"
                " where there are no labels, such as maps=(16, 32) and stage_steps=500"
            )
        self.stage_steps, self.finetune, self.label_rate = stage_steps, finetune, label_rate
        self.contrast = ContrastNorm(window)
        self.stages = nn.ModuleList()
        channels, height, width = event.shape
        for number, wanted in enumerate(maps, 1):
            if kernel > min(height, width):
                raise InvalidInput(
                    f"atoms of {kernel} x {kernel} do not fit into the {height} x {width} of what stage {number} sees: take a"
                    " smaller kernel or pool, fewer stages, or larger images"
                )
            seen = (channels, height, width)
            stage = Stage(seen, wanted, kernel, pool, penalty, prediction, encoder, tolerance, code_steps)
            self.stages.append(stage)
            channels, height, width = stage.outputs
        if condition is not None:
            self.labelled, self.monitor = True, "cross_entropy"
            self.classifier = nn.Linear(channels * height * width, classes_of(condition, self.name))
            nn.init.zeros_(self.classifier.weight)  # an untrained one calls all classes equally likely
            nn.init.zeros_(self.classifier.bias)
        learned = {id(p) for group in self.parameter_groups().values() for p in group}
        for parameter in self.parameters():  # what no step changes, such as atoms where no stage is trained
            parameter.requires_grad_(id(parameter) in learned)

    # The network

    @property
    def stack(self) -> list["Stage"]:
        """The stages, from the image upwards."""
        return [cast(Stage, stage) for stage in self.stages]

    def features(self, x: Tensor, stages: int | None = None) -> Tensor:
        """Return h after so many stages, all where None, (batch, maps, height, width), for data, (batch, *event.shape)."""
        return next(islice(self._seen(x), len(self.stages) if stages is None else stages, None))

    def _seen(self, x: Tensor) -> Iterator[Tensor]:
        """Yield h_0, h_1, ...: what each stage sees, and what the last one hands on, (batch, maps, height, width)."""
        h = self.contrast(self.event.to_network(x, self.dtype))
        yield h
        for stage in self.stack:
            h = F.avg_pool2d(self.contrast(stage.maps(h).abs()), stage.pool, ceil_mode=True)
            yield h

    def logits(self, x: Tensor) -> Tensor:
        """Return A h_S + c, (batch, K), for data, (batch, *event.shape)."""
        return self.classifier(self.features(x).flatten(1)).to(self.dtype)

    def filters(self) -> Tensor:
        """Return the atoms of the first stage, (maps[0], channels, kernel, kernel)."""
        return self.stack[0].atoms.detach()

    # Primitives

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        self.check_batch(x, condition)
        return self.features(x).flatten(1)

    def classify(self, x: Tensor) -> Tensor:
        """Return the logit of each class, (batch, classes)."""
        if self.condition is None:
            raise Unsupported(
                f"this {self.name} was trained without labels and tells no classes: train with some (--data.condition label"
                " --data.labelled 1000), or ask what its features tell (ancestral probe)"
            )
        (self.event.check_shape if self.training else self.event.check)(x)
        return self.logits(x)

    # Training

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {}
        if self.stage_steps:
            groups.update({f"stage{k}": list(stage.parameters()) for k, stage in enumerate(self.stack, 1)})
        if self.condition is not None:
            classifier = list(self.classifier.parameters())
            if self.stage_steps or not self.finetune:
                groups["classifier"] = classifier
            if self.finetune:
                groups["model"] = [p for stage in self.stack for p in stage.encoder_parameters()] + classifier
        return groups

    def groups_at(self, step: int) -> Sequence[str]:
        stages = len(self.stages)
        if self.condition is not None and step >= stages * self.stage_steps:
            return ("model" if self.finetune else "classifier",)
        stage = min(step // self.stage_steps + 1, stages)
        return (f"stage{stage}", "classifier") if self.condition is not None and stage == stages else (f"stage{stage}",)

    def learning_rate_factor(self, group: str) -> float:
        return 1.0 if group.startswith("stage") else self.label_rate

    def after_step(self, group: str) -> None:
        if group.startswith("stage"):
            self.stack[int(group.removeprefix("stage")) - 1].shorten()

    def loss(
        self, x: Tensor, condition: Tensor | None = None, *, group: str = "model", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the loss of a stage on data without label, or the cross-entropy on those with one."""
        condition = self.check_batch(x, condition)
        if group.startswith("stage"):
            stage = int(group.removeprefix("stage")) - 1
            if condition is not None:
                # Each labelled datum is there once more without its label; a batch of labelled ones alone has to do.
                unlabelled = ~split_labels(condition)[1]
                x = x[unlabelled] if bool(unlabelled.any()) else x
            with torch.no_grad():
                h = self.features(x, stage).flatten(1)
            return self.stack[stage].decomposition_loss(h)
        if condition is None:
            raise InvalidInput(f"a loss of {group!r} needs a class and whether it is known for each datum, got none")
        label, known = split_labels(condition)
        with torch.set_grad_enabled(torch.is_grad_enabled() and group == "model"):
            h = self.features(x[known]).flatten(1)
        logits = self.classifier(h).to(self.dtype)
        # The mean over the labelled data of a batch, and 0 where it has none.
        count = known.sum().clamp(min=1)
        wrong = (logits.argmax(1) != label[known]).sum() / count
        return {"loss": F.cross_entropy(logits, label[known], reduction="sum") / count, "error": wrong}

    def measures(
        self, x: Tensor, condition: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return by datum "cross_entropy" and "error" where there are labels, 0 for data without one.

        Without labels, `Predictive.decomposition_measures` of each stage over the entries of what it sees, for "active" over
        those of its codes: the mean over stages.
        """
        condition = self.check_batch(x, condition)
        if condition is not None:
            (label, known), logits = split_labels(condition), self.logits(x)
            cross_entropy = F.cross_entropy(logits, label, reduction="none")
            values = {"cross_entropy": cross_entropy, "error": (logits.argmax(1) != label).to(self.dtype)}
            return {name: torch.where(known, value, 0.0) for name, value in values.items()}
        values = {}
        for stage, seen in zip(self.stack, self._seen(x), strict=False):
            h = seen.flatten(1)
            for name, value in stage.decomposition_measures(h, stage.tolerance).items():
                entries = stage.dictionary().atoms if name in ("active", "apart") else h.shape[1]
                values[name] = values.get(name, 0.0) + value / (entries * len(self.stages))
        return values


class Stage(nn.Module, Predictive):
    """A dictionary of atoms that stand at each place of maps, and the filters that are to tell their codes.

    The encoder starts as the first step of a solver from z = 0: the atoms over the Lipschitz constant.

    Args:
        inputs: channels, height and width of what is told.
        maps: atoms.
        kernel: rows and columns of an atom.
        pool: what the height and width of the maps are divided by.
        penalty: l.
        prediction: a.
        encoder: shrink or tanh.
        tolerance: relative gap of codes that are learned from.
        code_steps: steps of the solver after which codes are taken as they are.
    """

    def __init__(
        self,
        inputs: tuple[int, int, int],
        maps: int,
        kernel: int,
        pool: int,
        penalty: float,
        prediction: float,
        encoder: str,
        tolerance: float,
        code_steps: int,
    ) -> None:
        super().__init__()
        channels, *size = inputs
        self.inputs, self.pool = inputs, pool
        self.penalty, self.prediction, self.encoder = penalty, prediction, encoder
        self.tolerance, self.code_steps = tolerance, code_steps
        start = torch.randn(maps, channels, kernel, kernel)
        self.atoms = nn.Parameter(start / start.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        self.predictor = nn.Conv2d(channels, maps, kernel)
        steepest = self.dictionary().norm_squared()
        with torch.no_grad():
            self.predictor.weight.copy_(self.atoms / steepest)
        nn.init.zeros_(cast(Tensor, self.predictor.bias))
        # The gains of tanh, or the thresholds below which outputs are 0.
        self.level = nn.Parameter(torch.full((maps, 1, 1), penalty / steepest if encoder == "shrink" else 1.0))
        places = [-(-(side - kernel + 1) // pool) for side in size]
        self.outputs = (maps, *places)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return all but the atoms."""
        return [*self.predictor.parameters(), self.level]

    def dictionary(self) -> Convolutional:
        return Convolutional(self.atoms, self.inputs[1:])

    def maps(self, h: Tensor) -> Tensor:
        """Return p(h), (batch, maps, height', width'), for h, (batch, channels, height, width)."""
        return squashed(self.predictor(h).to(h.dtype), self.level, self.encoder)

    def predict(self, y: Tensor) -> Tensor:
        return self.maps(y.view(len(y), *self.inputs)).flatten(1)

    @torch.no_grad()
    def shorten(self) -> None:
        """Put atoms that are too long back into the unit ball."""
        self.atoms.div_(self.atoms.flatten(1).norm(dim=1).clamp(min=1.0).view(-1, 1, 1, 1))
