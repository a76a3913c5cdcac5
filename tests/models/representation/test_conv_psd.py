"""The convolutional stack: codes against a materialised lasso, gradients, which step changes what, fine-tuning, and limits."""

from pathlib import Path

import pytest
import torch

from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.lasso import lasso
from ancestral.models.representation.conv_psd import ConvPSD, Stage
from ancestral.training import TrainConfig, create_model, fit, resume
from ancestral.verbs.classify import classify
from ancestral.verbs.filters import draw_filters, filters
from tests.models.learning import generator, learn

IMAGE = Event.real((1, 8, 8))
LABELS = Event.labels((2, 2))
OPTIONS = {"maps": (4, 3), "kernel": 3, "window": 3, "penalty": 0.1, "stage_steps": 20}


def stage(prediction: float = 0.7, encoder: str = "shrink") -> Stage:
    torch.manual_seed(0)
    found = Stage((2, 5, 4), 3, 2, 2, 0.3, prediction, encoder, 1e-14, 50_000).double()
    with torch.no_grad():
        found.predictor.weight.add_(0.1 * torch.randn(found.predictor.weight.shape, generator=generator()).double())
    return found


def images(n: int = 200, shape: tuple[int, ...] = (1, 8, 8)) -> torch.Tensor:
    return torch.randn(n, *shape, generator=generator(1))


def bars(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy images of a bar that lies or stands, and which, every second one known."""
    label = torch.randint(2, (n,), generator=generator(2))
    x = 0.3 * images(n)
    for row, at in enumerate(torch.randint(1, 7, (n,), generator=generator(3)).tolist()):
        if label[row]:
            x[row, 0, at] += 1.0
        else:
            x[row, 0, :, at] += 1.0
    known = torch.arange(n) % 2
    return x, torch.stack((label * known, known), dim=1)


@pytest.mark.parametrize("encoder", ["shrink", "tanh"])
def test_codes_are_as_good_as_those_for_the_whole_matrix(encoder: str) -> None:
    found, y = stage(0.7, encoder), torch.randn(6, 40, generator=generator()).double()
    with torch.no_grad():
        near = found.predict(y)
        identity = torch.eye(found.dictionary().atoms, dtype=torch.float64)
        matrix = torch.cat((found.dictionary().tell(identity), 0.7**0.5 * identity), dim=1)
        both = torch.cat((y, 0.7**0.5 * near), dim=1)
        peer = lasso(both, matrix, 0.3, tolerance=1e-14, max_steps=50_000).z
        objective = 0.5 * (both - peer @ matrix).square().sum(1) + 0.3 * peer.abs().sum(1)
        measured = found.decomposition_measures(y, 1e-14)
    torch.testing.assert_close(measured["objective"], objective, rtol=1e-9, atol=1e-9)
    assert 0 < float(measured["active"].mean()) < found.dictionary().atoms


@pytest.mark.parametrize("name", ["atoms", "predictor.weight", "predictor.bias", "level"])
@pytest.mark.parametrize("encoder", ["shrink", "tanh"])
def test_gradients_are_those_of_the_least_objective(name: str, encoder: str) -> None:
    """Codes are at their best, so what they would change by does not count: differences of the minimum are its gradient."""
    found, y = stage(0.7, encoder), torch.randn(6, 40, generator=generator()).double()
    found.decomposition_loss(y)["loss"].backward()
    parameter = dict(found.named_parameters())[name]
    way = torch.randn(parameter.shape, generator=generator(5), dtype=torch.float64)
    values = []
    for step in (1e-4, -1e-4):
        with torch.no_grad():
            parameter.add_(step * way)
            values.append(float(found.decomposition_measures(y, 1e-14)["objective"].mean()))
            parameter.sub_(step * way)
    assert parameter.grad is not None
    assert float((parameter.grad * way).sum()) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4)


def test_terms_add_up() -> None:
    found, y = stage(), torch.randn(6, 40, generator=generator()).double()
    with torch.no_grad():
        values, z = found.decomposition_loss(y), found.solve(y, 1e-14).z
    size = 0.3 * float(z.abs().sum(1).mean())
    assert float(values["loss"]) == pytest.approx(float(values["error"]) + size + 0.35 * float(values["apart"]))


def test_the_encoder_starts_as_a_step_of_the_solver() -> None:
    torch.manual_seed(0)
    found, y = (
        Stage((2, 5, 4), 3, 2, 2, 0.3, 1.0, "shrink", 0.03, 30).double(),
        torch.randn(6, 40, generator=generator()).double(),
    )
    steps = found.dictionary().norm_squared()
    expected = torch.nn.functional.softshrink(found.dictionary().correlate(y) / steps, 0.3 / steps)
    torch.testing.assert_close(found.predict(y), expected, rtol=1e-5, atol=1e-6)


def test_a_step_changes_its_own_stage_alone_and_then_labels_the_encoders() -> None:
    model = ConvPSD(IMAGE, LABELS, **{**OPTIONS, "stage_steps": 2})
    assert [model.groups_at(step) for step in range(6)] == [
        ("stage1",),
        ("stage1",),
        ("stage2", "classifier"),
        ("stage2", "classifier"),
        ("model",),
        ("model",),
    ]
    x, condition = bars(40)
    groups = model.parameter_groups()
    for name, others in (
        ("stage1", ("stage2", "classifier")),
        ("stage2", ("stage1", "classifier")),
        ("classifier", ("stage1", "stage2")),
    ):
        model.zero_grad(set_to_none=True)
        model.loss(x, condition, group=name)["loss"].backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in groups[name])
        assert all(p.grad is None for other in others for p in groups[other])
    assert not {id(stage.atoms) for stage in model.stack} & {id(p) for p in groups["model"]}


def test_atoms_stay_in_the_unit_ball_and_stages_come_to_tell_their_codes() -> None:
    x = bars()[0]
    torch.manual_seed(0)
    model = ConvPSD(IMAGE, **OPTIONS)
    with torch.no_grad():
        before = {name: float(value.mean()) for name, value in model.measures(x).items()}
    learn(model, x, steps=150, rate=1e-2)
    with torch.no_grad():
        after = {name: float(value.mean()) for name, value in model.measures(x).items()}
    assert after["objective"] < 0.9 * before["objective"]
    assert after["apart"] < 0.7 * before["apart"]
    for each in model.stack:
        assert float(each.atoms.detach().flatten(1).norm(dim=1).max()) <= 1.0 + 1e-6


def test_fine_tuning_lowers_what_labels_cost_and_changes_the_encoder_alone() -> None:
    x, condition = bars()
    found = {}
    for finetune in (True, False):
        torch.manual_seed(0)
        model = learn(ConvPSD(IMAGE, LABELS, finetune=finetune, **OPTIONS), x, condition, steps=40, rate=1e-2)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.train()
        optimizer = torch.optim.Adam(model.parameter_groups()[model.groups_at(40)[0]], 3e-3)
        costs = []
        for _ in range(60):
            values = model.loss(x, condition, group=model.groups_at(40)[0])
            optimizer.zero_grad()
            values["loss"].backward()
            optimizer.step()
            costs.append(float(values["loss"].detach()))
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        found[finetune] = (costs[0], costs[-1], changed)
    encoders = {f"stages.{k}.{part}" for k in (0, 1) for part in ("predictor.weight", "predictor.bias", "level")}
    assert found[True][0] == pytest.approx(found[False][0])  # up to then they were the same
    assert found[True][1] < 0.5 * found[True][0]
    assert found[True][1] < found[False][1] < found[False][0]
    assert found[True][2] == encoders | {"classifier.weight", "classifier.bias"}
    assert found[False][2] == {"classifier.weight", "classifier.bias"}


def test_the_cost_of_labels_is_the_mean_over_those_that_are_known() -> None:
    model = ConvPSD(IMAGE, LABELS, **OPTIONS).eval()
    torch.nn.init.normal_(model.classifier.weight, generator=generator())
    x, condition = bars(6)
    with torch.no_grad():
        logs = model.classify(x).log_softmax(1)
        told = [float(-logs[k, int(condition[k, 0])]) for k in range(6)]
        measured = model.measures(x, condition)["cross_entropy"].tolist()
        loss = float(model.loss(x, condition)["loss"])
        nothing = float(model.loss(x[::2], condition[::2])["loss"])
    assert measured == pytest.approx([0.0, told[1], 0.0, told[3], 0.0, told[5]])
    assert loss == pytest.approx(sum(told[1::2]) / 3)
    assert nothing == 0.0


def test_stages_do_not_look_at_data_with_a_label() -> None:
    model = ConvPSD(IMAGE, LABELS, **OPTIONS)
    x, condition = bars(8)
    with torch.no_grad():
        loss = model.loss(x, condition, group="stage1")["loss"]
        torch.testing.assert_close(model.loss(x[::2], condition[::2], group="stage1")["loss"], loss)
        known = model.loss(x[1::2], condition[1::2], group="stage2")["loss"]  # there are no others
    assert bool(known.isfinite())


def test_random_stages_are_fine_tuned_and_have_no_use_for_atoms() -> None:
    model = ConvPSD(IMAGE, LABELS, **{**OPTIONS, "stage_steps": 0})
    assert list(model.parameter_groups()) == ["model"]
    assert model.groups_at(0) == ("model",)
    assert all(not each.atoms.requires_grad for each in model.stack)
    frozen = ConvPSD(IMAGE, LABELS, **{**OPTIONS, "stage_steps": 0}, finetune=False)
    assert {name for name, p in frozen.named_parameters() if p.requires_grad} == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("steps", [(3, 6), (5, 8)], ids=["in the second stage", "in fine-tuning"])
def test_a_resumed_run_is_the_run(tmp_path: Path, steps: tuple[int, int]) -> None:
    x, condition = bars(64)
    data = Data("bars", IMAGE, {"train": ArraySplit(x, condition), "validation": ArraySplit(x, condition)}, LABELS)
    options = {**OPTIONS, "stage_steps": 2}
    config = {"batch_size": 16, "schedule": "constant", "samples": 0, "loggers": ("csv",), "checkpoint_every": 1}
    weights = {}
    for name, parts in (("whole", (steps[1],)), ("resumed", steps)):
        model = create_model("conv-psd", IMAGE, LABELS, seed=1, **options)
        run = fit(model, data, tmp_path / name, TrainConfig.for_model(ConvPSD, **config, steps=parts[0]), progress=False)
        for more in parts[1:]:
            run = resume(run.path, data=data, steps=more, progress=False)
        weights[name] = (sorted((run.path / "checkpoints").glob("*.safetensors"))[-1]).read_bytes()
    assert weights["whole"] == weights["resumed"]


def test_labels_from_the_command_lines_data_are_told(tmp_path: Path) -> None:
    data = load("digits", condition="label", labelled=200)
    model = create_model("conv-psd", data.event, data.condition, seed=0, maps=(8,), kernel=3, window=5, stage_steps=30)
    config = TrainConfig.for_model(ConvPSD, steps=130, samples=0, evaluate_every=1e9, loggers=("csv",))
    run = fit(model, data, tmp_path / "run", config, progress=False)
    found = classify(run.path, split="validation")
    assert found.matching is None
    assert found.accuracy > 0.7


def test_without_labels_there_are_features_and_no_classes(tmp_path: Path) -> None:
    model = ConvPSD(IMAGE, **OPTIONS).eval()
    x = images(3)
    assert model.encode(x).shape == (3, 3)  # 8 to 6 to 3, 1 place of 3 maps
    assert bool(model.encode(torch.zeros(2, 1, 8, 8)).isfinite().all())
    data = Data("bars", IMAGE, dict.fromkeys(("train", "test"), ArraySplit(x, torch.tensor([0, 1, 0]))), Event.label(2))
    for call in (lambda: model.classify(x), lambda: classify(model, data)):
        with pytest.raises(Unsupported, match=r"trained without labels and tells no classes.*--data.labelled"):
            call()
    with pytest.raises(InvalidInput, match=r"a loss of 'model' needs a class"):
        model.loss(x)
    found = filters(model, 2)
    assert found.shape == (2, 1, 3, 3)
    draw_filters(found, model.event, tmp_path / "filters.png")


def test_a_rate_that_diverges_is_a_sentence(tmp_path: Path) -> None:
    x = bars(64)[0]
    data = Data("bars", IMAGE, {"train": ArraySplit(x), "validation": ArraySplit(x)})
    settings = {"steps": 20, "batch_size": 16, "samples": 0, "loggers": ("csv",), "learning_rate": 1e38}
    model = create_model("conv-psd", IMAGE, seed=0, **OPTIONS)
    with pytest.raises(InvalidInput, match=r"training diverged.*lower --train.learning_rate"):
        fit(model, data, tmp_path / "run", TrainConfig.for_model(ConvPSD, **settings), progress=False)


@pytest.mark.parametrize("encoder", ["shrink", "tanh"])
def test_images_without_contrast_are_learned_from(encoder: str) -> None:
    model = ConvPSD(Event.integers((1, 8, 8), 256), LABELS, encoder=encoder, **OPTIONS)
    x = torch.full((4, 1, 8, 8), 77, dtype=torch.uint8)
    for group, parameters in model.parameter_groups().items():
        model.zero_grad(set_to_none=True)
        loss = model.loss(x, torch.tensor([[1, 1], [0, 0]] * 2), group=group)["loss"]
        loss.backward()
        assert bool(loss.isfinite())
        assert all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None)


def test_bad_options_are_refused() -> None:
    for options, match in (
        ({"kernel": 9}, r"atoms of 9 x 9 do not fit into the 8 x 8 of what stage 1 sees"),
        ({"maps": (4, 4, 4)}, r"atoms of 3 x 3 do not fit into the 1 x 1 of what stage 3 sees"),
        ({"maps": ()}, r"maps=\(\).*one stage at least"),
        ({"maps": (4, 0)}, r"maps needs whole numbers of at least 1"),
        ({"stage_steps": 0}, r"stage_steps=0.*steps to train it in"),
        ({"penalty": 0.0}, r"penalty is 0.0"),
        ({"prediction": -1.0}, r"prediction is -1.0"),
        ({"encoder": "shrnk"}, r"no encoder 'shrnk'.*shrink"),
        ({"window": 4}, r"window is 4, expected an odd number"),
    ):
        with pytest.raises(InvalidInput, match=match):
            ConvPSD(IMAGE, **{**OPTIONS, **options})
    with pytest.raises(InvalidInput, match=r"conv-psd takes a class and whether it is known.*--data.labelled"):
        ConvPSD(IMAGE, Event.label(10), **OPTIONS)
