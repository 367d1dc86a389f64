"""Networks: parameter counts of the publications, masks as data, foldings that change nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import untrained

from segbench import nets
from segbench.errors import InputError, UnknownNameError
from segbench.masks import masks, ones
from segbench.nets.vnet_battery import collapse


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("vnet-sandia", {"dims": 3}, 1_403_059),
        ("vnet-sandia", {"dims": 2}, 483_955),
        ("vnet-milletari", {}, 61_982_682),
    ],
)
def test_parameter_counts_are_the_published_ones(name, options, count):
    assert nets.build(name, **options).parameter_count() == count


def test_sandia_in_two_dimensions():
    network = nets.build("vnet-sandia", dims=2).eval()
    with torch.no_grad():
        out = network(torch.randn(1, 1, 16, 24), torch.from_numpy(masks(network.sites, 0, range(3))))
    assert out.shape == (3, 1, 16, 24)


def test_milletari_has_two_classes_and_no_sites():
    network = nets.build("vnet-milletari").eval()
    with torch.no_grad():
        out = network(torch.randn(1, 1, 16, 16, 16), torch.from_numpy(ones(network.sites)))
    assert out.shape == (1, 2, 16, 16, 16)


@pytest.mark.parametrize("name", ["vnet-battery", "vnet-sandia"])
def test_a_sample_does_not_depend_on_the_others(name):
    """T samples at once, one at a time, and as a batch of copies: the same logits."""
    torch.manual_seed(0)
    network = nets.build(name).eval()
    image = torch.randn(1, 1, 16, 16, 16)
    drawn = torch.from_numpy(masks(network.sites, 0, range(3)))
    with torch.no_grad():
        together = network(image, drawn)
        alone = torch.cat([network(image, drawn[t : t + 1]) for t in range(3)])
        copies = network(image.repeat(3, 1, 1, 1, 1), drawn)
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)
    torch.testing.assert_close(together, copies, rtol=0, atol=2e-5)
    assert float((together[0] - together[1]).abs().mean()) > 1e-4


def test_every_site_is_alive():
    """Dropping the channels of any one site changes the result."""
    network = untrained()
    image = torch.randn(1, 1, 16, 16, 16)
    whole = torch.from_numpy(ones(network.sites))
    first = 0
    with torch.no_grad():
        for site in network.sites:
            dropped = whole.clone()
            dropped[:, first : first + site.channels // 2] = 0
            assert float((network(image, dropped) - network(image, whole)).abs().max()) > 1e-4, site.name
            first += site.channels


def test_collapsed_upsampling_is_exact_at_the_borders_too():
    """Nearest upsampling and conv3 with a replicated border, in float64."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 4, 3, 6).double(), torch.randn(7, 5, 3, 3, 3).double()
    up = F.interpolate(x, scale_factor=2, mode="nearest")
    slow = F.conv3d(F.pad(up, (1,) * 6, mode="replicate"), weight)
    quick = F.conv_transpose3d(F.pad(x, (1,) * 6, mode="replicate"), collapse(weight), stride=2, padding=3)
    torch.testing.assert_close(slow, quick, rtol=0, atol=1e-12)


def test_folding_changes_nothing():
    network = untrained().double()
    image = torch.randn(1, 1, 12, 16, 14).double()
    drawn = torch.from_numpy(masks(network.sites, 0, range(3))).double()
    with torch.no_grad():
        torch.testing.assert_close(network(image, drawn), network.folded()(image, drawn), rtol=0, atol=1e-12)
    assert any(isinstance(m, torch.nn.BatchNorm3d) for m in network.modules()), "the original was changed"
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in network.folded().modules())


def test_the_joint_convolution_equals_that_of_the_concatenation():
    """conv(concat[up, skip]) = conv_up(up) + conv_skip(skip): the skip's half may run once for all samples."""
    network = untrained()
    join = network.up[0].first
    low, skip = torch.randn(1, 8, 4, 4, 4), torch.randn(1, 4, 8, 8, 8)
    up = F.interpolate(low, scale_factor=2, mode="nearest")
    both = F.pad(torch.cat([up, skip], dim=1), (1,) * 6, mode="replicate")
    with torch.no_grad():
        expected = join.norm(F.conv3d(both, torch.cat([join.up.weight, join.skip.weight], dim=1)))
        torch.testing.assert_close(join(low, skip), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("times", [8, 16, 32])
def test_a_repeated_slice_gives_a_repeated_answer(times):
    torch.manual_seed(1)
    network = nets.build("vnet-battery").eval()
    image = torch.randn(1, 1, 1, 24, 16)
    with torch.no_grad():
        out = network(image.repeat(1, 1, times, 1, 1), torch.from_numpy(masks(network.sites, 0, [0])))
    assert float((out - out[:, :, :1]).abs().max()) < 1e-5


def test_unknown_networks_and_options_are_named():
    with pytest.raises(UnknownNameError, match="vnet-battery"):
        nets.build("vnet-batery")
    with pytest.raises(InputError, match="colour"):
        nets.build("vnet-battery", colour="red")
    with pytest.raises(InputError, match="dims"):
        nets.build("vnet-sandia", dims=4)
    with pytest.raises(InputError, match="kept"):
        nets.build("vnet-battery", widths=(4, 8), kept=(4,))


def test_thin_equals_masked():
    """The last stage's output with its dropped channels left out: what makes a sample cheap to compute."""
    network = untrained().folded()
    stage = network.up[0]
    low, skip = torch.randn(1, 8, 4, 4, 4), torch.randn(1, 4, 8, 8, 8)
    keep = torch.tensor([0, 3])
    mask = torch.zeros(1, 4, 1, 1, 1)
    mask[:, keep] = 2.0
    with torch.no_grad():
        masked = stage(low, skip) * mask
        a = F.relu(stage.first(low, skip))
        second = stage.second.conv
        padded = F.pad(a, (1,) * 6, mode="replicate")
        thin = F.relu(a[:, keep] + F.conv3d(padded, second.weight[keep], second.bias[keep])) * 2
    np.testing.assert_allclose(masked[:, keep].numpy(), thin.numpy(), atol=1e-5)
    assert float(masked[:, [1, 2]].abs().max()) == 0
