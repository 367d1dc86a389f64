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


def flat(network):
    """`unet2d-battery` with the tiny `vnet-battery`'s weights, its kernels summed along Z."""
    summed = {k: v.sum(2, keepdim=True) if v.dim() == 5 else v for k, v in network.state_dict().items()}
    sibling = nets.build("unet2d-battery", widths=(4, 8), kept=(4, 2)).to(network.head.weight.dtype)
    sibling.load_state_dict(summed)
    return sibling.eval()


def bordered(x, network):
    """With as many voxels of replicated border as the network's convolutions see."""
    return F.pad(x, [n for n in reversed(network.reach) for _ in range(2)], mode="replicate")


def upsampled(x, network):
    return F.interpolate(x, scale_factor=tuple(1 + n for n in network.reach), mode="nearest")


@pytest.fixture(params=["vnet-battery", "unet2d-battery"])
def network(request):
    """Tiny, with weights and statistics that are not the initial ones."""
    return untrained() if request.param == "vnet-battery" else flat(untrained())


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


@pytest.mark.parametrize("name", ["vnet-battery", "unet2d-battery", "vnet-sandia"])
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


def test_every_site_is_alive(network):
    """Dropping the channels of any one site changes the result."""
    image = torch.randn(1, 1, 16, 16, 16)
    whole = torch.from_numpy(ones(network.sites))
    first = 0
    with torch.no_grad():
        for site in network.sites:
            dropped = whole.clone()
            dropped[:, first : first + site.channels // 2] = 0
            assert float((network(image, dropped) - network(image, whole)).abs().max()) > 1e-4, site.name
            first += site.channels


def test_collapsed_upsampling_is_exact_at_the_borders_too(network):
    """Nearest upsampling and a convolution with a replicated border, in float64."""
    torch.manual_seed(0)
    reach = network.reach
    x, weight = torch.randn(2, 5, 4, 3, 6).double(), torch.randn(7, 5, *[1 + 2 * n for n in reach]).double()
    slow = F.conv3d(bordered(upsampled(x, network), network), weight)
    stride, crop = [1 + n for n in reach], [3 * n for n in reach]
    quick = F.conv_transpose3d(bordered(x, network), collapse(weight), stride=stride, padding=crop)
    torch.testing.assert_close(slow, quick, rtol=0, atol=1e-12)


def test_folding_changes_nothing(network):
    network = network.double()
    image = torch.randn(1, 1, 12, 16, 14).double()
    drawn = torch.from_numpy(masks(network.sites, 0, range(3))).double()
    with torch.no_grad():
        torch.testing.assert_close(network(image, drawn), network.folded()(image, drawn), rtol=0, atol=1e-12)
    assert any(isinstance(m, torch.nn.BatchNorm3d) for m in network.modules()), "the original was changed"
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in network.folded().modules())


def test_the_joint_convolution_equals_that_of_the_concatenation(network):
    """conv(concat[up, skip]) = conv_up(up) + conv_skip(skip): the skip's half may run once for all samples."""
    join = network.up[0].first
    low = torch.randn(1, 8, 4, 4, 4)
    up = upsampled(low, network)
    skip = torch.randn(1, 4, *up.shape[2:])
    both = bordered(torch.cat([up, skip], dim=1), network)
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


def test_the_two_siblings_agree_on_a_repeated_slice():
    """In float64: summed along Z, the 3-D network's kernels are the 2-D network's."""
    deep = untrained().double()
    image = torch.randn(1, 1, 1, 12, 16).double()
    drawn = torch.from_numpy(masks(deep.sites, 0, range(3))).double()
    with torch.no_grad():
        expected = deep(image.repeat(1, 1, 4, 1, 1), drawn)
        torch.testing.assert_close(flat(deep)(image, drawn).expand_as(expected), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fold", [False, True])
def test_slices_of_the_2d_network_do_not_see_each_other(fold):
    network = nets.build("unet2d-battery").eval()
    assert network.stride == (1, 8, 8)
    network = network.folded() if fold else network
    drawn = torch.from_numpy(masks(network.sites, 0, range(2)))
    image = torch.randn(1, 1, 5, 16, 24)
    changed = image.clone()
    changed[:, :, 3] += torch.randn(16, 24)
    with torch.no_grad():
        a, b = network(image, drawn), network(changed, drawn)
        alone = torch.cat([network(image[:, :, z : z + 1], drawn) for z in range(5)], dim=2)
    others = [0, 1, 2, 4]
    assert torch.equal(a[:, :, others], b[:, :, others])
    assert float((a[:, :, 3] - b[:, :, 3]).abs().mean()) > 1e-4
    torch.testing.assert_close(a, alone, rtol=0, atol=1e-5)


def test_unknown_networks_and_options_are_named():
    with pytest.raises(UnknownNameError, match="vnet-battery"):
        nets.build("vnet-batery")
    with pytest.raises(InputError, match="colour"):
        nets.build("vnet-battery", colour="red")
    with pytest.raises(InputError, match="dims"):
        nets.build("vnet-sandia", dims=4)
    with pytest.raises(InputError, match="kept"):
        nets.build("vnet-battery", widths=(4, 8), kept=(4,))


def test_thin_equals_masked(network):
    """The last stage's output with its dropped channels left out: what makes a sample cheap to compute."""
    network = network.folded()
    stage = network.up[0]
    low = torch.randn(1, 8, 4, 4, 4)
    skip = torch.randn(1, 4, *upsampled(low, network).shape[2:])
    keep = torch.tensor([0, 3])
    mask = torch.zeros(1, 4, 1, 1, 1)
    mask[:, keep] = 2.0
    with torch.no_grad():
        masked = stage(low, skip) * mask
        a = F.relu(stage.first(low, skip))
        second = stage.second.conv
        thin = F.relu(a[:, keep] + F.conv3d(bordered(a, network), second.weight[keep], second.bias[keep])) * 2
    np.testing.assert_allclose(masked[:, keep].numpy(), thin.numpy(), atol=1e-5)
    assert float(masked[:, [1, 2]].abs().max()) == 0
