import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.adversarial.semi_supervised_gan import NormalizedLinear


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def model(seed=0, **options):
    torch.manual_seed(seed)
    options = {"latent": 3, "hidden": (8, 6), "generator_hidden": (8,), **options}
    return create("semi-supervised-gan", Event.real((4,)), Event.labels((3, 2)), **options)


def test_the_critic_is_a_softmax_of_one_class_more_whose_logit_is_0():
    found, y = model().eval(), torch.randn(5, 4, generator=generator())
    logits = found.logits(y)
    whole = torch.cat((logits, torch.zeros(5, 1)), dim=1).softmax(dim=1)  # (b, K + 1), the last one: a sample
    torch.testing.assert_close(torch.sigmoid(found.criticize(y)[:, 0]), whole[:, :3].sum(1))
    torch.testing.assert_close(1.0 - torch.sigmoid(found.criticize(y)[:, 0]), whole[:, 3])
    torch.testing.assert_close(whole[:, :3] / whole[:, :3].sum(1, keepdim=True), logits.softmax(dim=1))


def test_the_critics_loss_by_probabilities_of_k_plus_1_classes():
    found = model(unlabelled_weight=0.6).eval()
    x = torch.randn(5, 4, generator=generator(1))
    condition = torch.tensor([[2, 1], [0, 0], [1, 1], [0, 0], [0, 0]])
    z = found.noise(5, generator(2))

    def probabilities(y):
        return torch.cat((found.logits(y), torch.zeros(len(y), 1)), dim=1).softmax(dim=1)

    real, fake = probabilities(x), probabilities(found.generate(z))
    given_real = real[:, :3] / real[:, :3].sum(1, keepdim=True)
    supervised = -(given_real[0, 2].log() + given_real[2, 1].log()) / 2
    game = -(1.0 - real[[1, 3, 4], 3]).log().mean() / 2 - fake[:, 3].log().mean() / 2
    loss = found.critic_loss(x, z, condition, generator())
    torch.testing.assert_close(loss["loss"], supervised + 0.6 * game)
    torch.testing.assert_close(loss["supervised"], supervised.detach())


@pytest.mark.parametrize("known", [0, 1])
def test_a_batch_of_one_kind_alone_has_finite_losses(known):
    found, x = model(), torch.randn(4, 4, generator=generator())
    condition = torch.tensor([[0, known]] * 4)
    for group in ("critic", "generator"):
        assert bool(torch.isfinite(found.loss(x, condition, group=group, generator=generator())["loss"]))


def test_the_generator_matches_features_of_data_without_label():
    found = model().eval()
    x, z = torch.randn(4, 4, generator=generator(1)), found.noise(4, generator(2))
    condition = torch.tensor([[2, 1], [0, 0], [1, 1], [0, 0]])
    difference = found.features(found.generate(z)).mean(0) - found.features(x[[1, 3]]).mean(0)
    loss = found.generator_loss(x, z, condition, generator())["loss"]
    torch.testing.assert_close(loss, difference.square().mean())
    # What labelled data are has no say in it.
    moved = x.clone()
    moved[[0, 2]] += 1.0
    torch.testing.assert_close(found.generator_loss(moved, z, condition, generator())["loss"], loss)


def test_each_group_gets_gradients_of_its_own_loss_alone():
    found, x = model(), torch.randn(8, 4, generator=generator())
    condition = torch.tensor([[k % 3 if k % 2 else 0, k % 2] for k in range(8)])
    for group, other in (("critic", "generator"), ("generator", "critic")):
        found.zero_grad(set_to_none=True)
        found.loss(x, condition, group=group, generator=generator())["loss"].backward()
        groups = found.parameter_groups()
        assert any(p.grad is not None and bool(p.grad.any()) for p in groups[group])
        assert all(p.grad is None for p in groups[other])


def test_the_first_batch_sets_scale_and_bias():
    torch.manual_seed(0)
    layer = NormalizedLinear(5, 3).train()
    y = layer(torch.randn(200, 5, generator=generator()) * 7.0 + 2.0)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(3), atol=1e-4, rtol=0.0)
    # The length of v has no effect, only its direction.
    x = torch.randn(4, 5, generator=generator(1))
    before = layer.eval()(x)
    with torch.no_grad():
        layer.direction *= 3.0
    torch.testing.assert_close(layer(x), before)


def test_noise_is_on_each_layer_in_training_alone():
    found, y = model(hidden=(), input_noise=2.0), torch.zeros(4000, 4)
    found.logits(y, generator())
    assert float(found.logits(y, generator(1)).detach().std(0).min()) > 0.1
    assert float(found.eval().logits(y, generator(1)).detach().std(0).max()) < 1e-6
    silent = model(input_noise=0.0, noise=0.0)
    silent.logits(torch.randn(9, 4, generator=generator()), generator())
    first, second = (silent.logits(y[:3], generator(seed)) for seed in (1, 2))
    assert torch.equal(first, second)


def test_samples_of_a_class_are_of_that_class_and_others_of_all():
    found = model().eval()
    free = found.sample(300, torch.tensor([[0, 0]] * 300), generator=generator())
    shares = torch.bincount(found.classify(free).argmax(1), minlength=3) / 300
    for k in range(3):
        if 0.05 < shares[k] < 0.7:
            drawn = found.sample(300, torch.tensor([[k, 1]] * 300), generator=generator())
            of_class = (found.classify(drawn).softmax(1)[:, k]).mean()
            assert of_class > found.classify(free).softmax(1)[:, k].mean() + 0.02


def test_error_counts_known_labels_alone():
    found = model().eval()
    x = torch.randn(6, 4, generator=generator())
    told = found.classify(x).argmax(1)
    condition = torch.stack((torch.cat((told[:2], (told[2:] + 1) % 3)), torch.tensor([1, 1, 1, 1, 0, 0])), dim=1)
    assert found.measures(x, condition, generator=generator())["error"].tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert found.monitor == "energy_score"


def test_it_learns_two_clusters_from_one_label_each():
    noise = generator(3)
    label = torch.arange(200) % 2
    x = torch.randn(200, 2, generator=noise) * torch.tensor([1.0, 0.2]) + torch.where(label == 0, -1.0, 1.0)[:, None]
    torch.manual_seed(0)
    event, condition = Event.real((2,)), Event.labels((2, 2))
    found = create("semi-supervised-gan", event, condition, latent=4, hidden=(32,), generator_hidden=(16,), noise=0.1)
    rows = torch.cat((torch.tensor([0, 1]).repeat(50), torch.arange(200)))
    known = (torch.arange(300) < 100).long()
    optimizers = {name: torch.optim.Adam(p, lr=1e-2, betas=(0.5, 0.999)) for name, p in found.parameter_groups().items()}
    found.train()
    given = torch.stack((label[rows] * known, known), dim=1)
    for _ in range(60):
        for name, optimizer in optimizers.items():
            found.zero_grad(set_to_none=True)
            found.loss(x[rows], given, group=name, generator=noise)["loss"].backward()
            optimizer.step()
    assert (found.eval().classify(x).argmax(1) != label).float().mean() < 0.1


@pytest.mark.parametrize("condition", [None, Event.label(10), Event.labels((10, 3)), Event.real((2,))])
def test_other_conditions_are_refused(condition):
    with pytest.raises(InvalidInput, match=r"takes a class and whether it is known .* --data.labelled 100"):
        create("semi-supervised-gan", Event.real((4,)), condition)


def test_refused():
    for options in ({"noise": -1.0}, {"unlabelled_weight": 0.0}):
        with pytest.raises(InvalidInput, match=r"noise is not negative and unlabelled_weight positive"):
            model(**options)
    with pytest.raises(InvalidInput, match=r"batch normalisation needs at least 2 data in a batch"):
        model().loss(torch.zeros(1, 4), torch.tensor([[0, 1]]), group="critic", generator=generator())
