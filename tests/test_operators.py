"""operators.py: A, its adjoint and its inverse against matrices, scipy and deepinv; what is hidden; the noise."""

import itertools
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.nn import functional as F

from helpers.noise import initial_noise
from helpers.operators import OPERATORS, Blur, Mask, Pool, box, gaussian_blur, make_operator, motion_blur, random_mask


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# One of each kind, channels, sides that differ, odd sides, kernels of even and of different sides; all of them small.
SMALL = [
    Mask(rand(3, 5, 7) < 0.4, "mask"), box((1, 6, 9), 3), random_mask((3, 8, 5), 0.7, seed=1),
    Pool((1, 8, 12), 2), Pool((3, 8, 4), 4), Pool((2, 6, 9), 3), Pool((1, 4, 4), 1),
    gaussian_blur((1, 9, 12), 0.9), gaussian_blur((3, 8, 7), 0.8),
    motion_blur((1, 7, 12), 5), motion_blur((2, 8, 8), 4, angle=20.0),
    Blur((2, 7, 9), rand(4, 3), "even"), Blur((1, 8, 6), rand(8, 6) ** 9, "as large as the image"),
]
LARGE = [make_operator(name, shape) for shape in ((1, 28, 28), (3, 28, 32)) for name in OPERATORS]
EVERY = pytest.mark.parametrize("a", SMALL + LARGE, ids=lambda a: f"{a.name}-{'x'.join(map(str, a.shape))}")
EACH = pytest.mark.parametrize("a", SMALL, ids=lambda a: f"{a.name}-{'x'.join(map(str, a.shape))}")


def pair(a, n=2, dtype=torch.float64):
    return randn(n, *a.shape, dtype=dtype), randn(n, *a.measured, seed=1, dtype=dtype)


def matrix(function, shape):
    """The matrix of a linear map, column by column."""
    count = math.prod(shape)
    return function(torch.eye(count, dtype=torch.float64).view(count, *shape)).flatten(1).T


# ---- what A, A^T, A^+ and hidden are to each other

@EVERY
def test_the_adjoint_moves_a_across_the_dot_product(a):
    x, y = pair(a)
    assert a(x).shape == y.shape and a.adjoint(y).shape == a.pseudo_inverse(y).shape == x.shape
    assert abs((a(x) * y).sum() - (x * a.adjoint(y)).sum()) < 1e-10


@EVERY
def test_the_adjoint_is_the_gradient(a):
    """Autograd's vjp of A is A^T, and of A^T is A."""
    x, y = pair(a)
    x, y = x.requires_grad_(), y.requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(a(x), x, y)[0], a.adjoint(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(a.adjoint(y), y, x)[0], a(x), rtol=0, atol=1e-12)


@EACH
def test_the_matrices(a):
    """A^T is the transposed matrix, A^+ the matrix that linalg.pinv makes by cutting small singular values off."""
    forward = matrix(a, a.shape)
    torch.testing.assert_close(matrix(a.adjoint, a.measured), forward.T, rtol=0, atol=1e-13)
    inverse = torch.linalg.pinv(forward, atol=getattr(a, "cutoff", 1e-6), rtol=0.0)
    torch.testing.assert_close(matrix(a.pseudo_inverse, a.measured), inverse, rtol=0, atol=1e-10)


@EVERY
def test_what_is_hidden_is_not_seen(a):
    """A hidden(x) = 0, A A^+ A = A; for a blur both up to cutoff |hidden(x)|."""
    x = pair(a)[0]
    h, seen = a.hidden(x), a.pseudo_inverse(a(x))
    torch.testing.assert_close(a(seen), a(x) - a(h), rtol=0, atol=1e-12)
    limit = a.cutoff * h.norm() if isinstance(a, Blur) else 1e-12
    assert a(h).norm() <= limit + 1e-12


@EVERY
def test_hidden_is_an_orthogonal_projection(a):
    x, other = pair(a)[0], randn(2, *a.shape, seed=2)
    h = a.hidden(x)
    torch.testing.assert_close(a.hidden(h), h, rtol=0, atol=1e-11)
    assert abs((h * (x - h)).sum()) < 1e-10
    assert abs((h * other).sum() - (x * a.hidden(other)).sum()) < 1e-10
    torch.testing.assert_close(a.pseudo_inverse(a(x)) + h, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_named_operator_hides_something_and_sees_something(name):
    a = make_operator(name, (1, 28, 28))
    x = randn(8, *a.shape)
    share = (a.hidden(x).square().sum() / x.square().sum()).item()
    expected = {"box": 14**2 / 28**2, "random": 549 / 784, "sr2": 3 / 4, "sr4": 15 / 16}
    if name in expected:
        assert share == pytest.approx(expected[name], abs=0.03)
    else:                                                   # the share of frequencies below the cutoff
        padded = np.zeros((28, 28))
        padded[:a.kernel.shape[0], :a.kernel.shape[1]] = a.kernel
        assert share == pytest.approx((np.abs(np.fft.fft2(padded)) < 0.1).mean(), abs=0.03) and 0.1 < share < 0.9
    assert (a.name, a.shape) == (name, (1, 28, 28))


def test_named_operators_grow_with_the_image():
    for side, shape in ((28, (1, 28, 28)), (56, (3, 56, 60))):
        x, grown = randn(1, *shape), side // 28
        expected = {"box": box(shape, 14 * grown), "random": random_mask(shape, 0.7, seed=0),
                    "sr2": Pool(shape, 2), "sr4": Pool(shape, 4), "gaussian": gaussian_blur(shape, 1.5 * grown),
                    "motion": motion_blur(shape, 7 * grown, angle=45.0)}
        assert list(OPERATORS) == list(expected)
        for name, a in expected.items():
            assert torch.equal(make_operator(name, shape)(x), a(x))


def test_hidden_by_kind():
    x = randn(2, 3, 8, 8)
    mask = random_mask((3, 8, 8), 0.5, seed=0)
    assert torch.equal(mask.hidden(x), x * ~mask.observed)
    means = Pool((3, 8, 8), 2).hidden(x).unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    assert means.abs().max() < 1e-15
    blur = gaussian_blur((3, 8, 8), 0.8)
    parts = torch.fft.fft2(blur.hidden(x)).abs().amax((0, 1)) > 1e-9           # the frequencies that hidden(x) has
    gains = torch.fft.fft2(blur(torch.eye(64).double()[:1].view(1, 1, 8, 8).repeat(1, 3, 1, 1)))[0, 0].abs()
    assert torch.equal(parts, gains < 0.1) and parts.any()


def test_the_inverse_of_a_blur_raises_noise_up_to_its_limit():
    a, y = gaussian_blur((1, 28, 28), 1.5), randn(4, 1, 28, 28)
    assert torch.linalg.matrix_norm(matrix(a.pseudo_inverse, a.measured), 2) < 1 / a.cutoff
    assert 1.5 < a.pseudo_inverse(y).std() < 10


# ---- masks

def test_box_hides_the_middle():
    observed = box((2, 6, 8), 4).observed
    expected = torch.ones(2, 6, 8, dtype=torch.bool)
    expected[:, 1:5, 2:6] = False
    assert torch.equal(observed, expected)
    assert (~box((1, 5, 5), 2).observed).nonzero().tolist() == [[0, 1, 1], [0, 1, 2], [0, 2, 1], [0, 2, 2]]


def test_mask_keeps_reading_order_and_leaves_gray():
    mask = Mask(torch.tensor([[True, False], [False, True]]), "corners", shape=(2, 2, 2))
    x = torch.arange(1.0, 9.0).view(1, 2, 2, 2)
    assert mask(x).tolist() == [[1, 4, 5, 8]]
    assert mask.pseudo_inverse(mask(x)).flatten().tolist() == [1, 0, 0, 4, 5, 0, 0, 8]
    assert Mask(torch.eye(2).bool(), "one channel").shape == (1, 2, 2)
    assert Mask(torch.eye(2).bool().expand(3, 2, 2), "three channels").shape == (3, 2, 2)


def test_mask_keeps_its_own_copy():
    mask = torch.eye(4).bool()
    a = Mask(mask, "diagonal")
    mask.fill_(True)
    assert torch.equal(a.observed[0], torch.eye(4).bool())


def test_random_mask_depends_on_its_arguments_alone():
    torch.manual_seed(0)
    first = random_mask((3, 28, 28), 0.7, seed=0).observed
    torch.manual_seed(1)
    assert torch.equal(first, random_mask((3, 28, 28), 0.7, seed=0).observed)
    assert torch.equal(first[:1].expand(3, 28, 28), first) and (~first[0]).sum() == 549      # 0.7 x 784 = 548.8
    assert torch.equal(first[0], random_mask((1, 28, 28), 0.7, seed=0).observed[0])
    other = random_mask((3, 28, 28), 0.7, seed=1).observed
    assert abs((first[0] & other[0]).double().mean() - 0.3**2) < 0.03                        # independent of seed 0
    assert not (first & ~random_mask((3, 28, 28), 0.3, seed=0).observed).any()


def test_random_mask_is_pinned():
    """The pixels that seed 0 hides first, on every machine."""
    hidden = (~random_mask((1, 28, 28), 6 / 784, seed=0).observed).flatten().nonzero().squeeze(1)
    assert hidden.tolist() == [27, 33, 162, 475, 575, 696]


def test_random_mask_is_uniform_and_no_copy_of_the_noise():
    hidden = torch.stack([~random_mask((1, 8, 8), 0.5, seed=s).observed for s in range(400)]).double()
    assert (hidden.mean(0) - 0.5).abs().max() < 5 * 0.5 / 400**0.5
    hidden = ~random_mask((1, 28, 28), 0.5, seed=0).observed
    for z in initial_noise(range(20), (1, 28, 28), seed=0).double():
        size = z.abs()
        assert abs(size[hidden].mean() - size[~hidden].mean()) < 5 * 0.6 * 2 / 784**0.5


# ---- pooling and blurs against torch and scipy

@pytest.mark.parametrize(("shape", "factor"), [((1, 28, 28), 4), ((3, 8, 12), 2), ((2, 6, 9), 3)])
def test_pool_is_avg_pool(shape, factor):
    a, x = Pool(shape, factor), randn(2, *shape)
    torch.testing.assert_close(a(x), F.avg_pool2d(x, factor))
    y = a(x)
    assert torch.equal(a.pseudo_inverse(y), F.interpolate(y, scale_factor=factor, mode="nearest"))
    assert torch.equal(a.adjoint(y), F.interpolate(y, scale_factor=factor, mode="nearest") / factor**2)
    torch.testing.assert_close(a(x.transpose(2, 3).contiguous().transpose(2, 3)), y)         # strides do not matter


@pytest.mark.parametrize("kernel", [(3, 3), (7, 5), (4, 4), (2, 5), (1, 6), (9, 12)])
def test_blur_is_scipys_convolution(kernel):
    k, x = rand(*kernel), randn(2, 2, 9, 12)
    a = Blur((2, 9, 12), k, "test")
    expected = scipy.ndimage.convolve(x.numpy(), (k / k.sum()).numpy()[None, None], mode="wrap")
    np.testing.assert_allclose(a(x), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(a(x.float()), expected, rtol=0, atol=2e-6)
    if all(side % 2 for side in kernel):
        correlation = scipy.ndimage.correlate(x.numpy(), (k / k.sum()).numpy()[None, None], mode="wrap")
        np.testing.assert_allclose(a.adjoint(x), correlation, rtol=0, atol=1e-13)


@pytest.mark.parametrize("std", [0.3, 0.9, 1.5, 3.0])
def test_gaussian_blur_is_scipys(std):
    x = randn(2, 1, 28, 30)
    expected = scipy.ndimage.gaussian_filter(x.numpy(), std, mode="wrap", axes=(2, 3))
    np.testing.assert_allclose(gaussian_blur((1, 28, 30), std)(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("length", "angle"), [(7, 0), (7, 90), (7, 45), (4, 0), (5, 20), (8, 130)])
def test_motion_blur_is_the_mean_of_shifted_copies(length, angle):
    x, t = randn(1, 1, 12, 14), np.arange(length) - (length - 1) / 2
    moves = np.stack([0 * t, 0 * t, -t * np.sin(np.radians(angle)), t * np.cos(np.radians(angle))], 1)
    copies = [scipy.ndimage.shift(x.numpy(), move, order=1, mode="grid-wrap") for move in moves]
    np.testing.assert_allclose(motion_blur((1, 12, 14), length, angle)(x), np.mean(copies, 0), rtol=0, atol=1e-12)


def test_motion_blur_points_where_it_says():
    flat = motion_blur((1, 28, 28), 7, angle=0.0).kernel
    torch.testing.assert_close(flat, F.pad(torch.full((1, 7), 1 / 7).double(), (0, 0, 3, 3)), rtol=0, atol=1e-7)
    k = motion_blur((1, 28, 28), 7, angle=30.0).kernel
    assert k[0].sum() == k[-1].sum() == 0 and k[1, -1] > 0 and k[1, 0] == 0                  # right goes with up
    torch.testing.assert_close(k, k.flip(0, 1))


def test_a_flat_image_stays_flat():
    x = torch.full((1, 1, 28, 28), 0.3, dtype=torch.float64)
    for name in ("gaussian", "motion"):
        a = make_operator(name, (1, 28, 28))
        for y in (a(x), a.adjoint(x), a.pseudo_inverse(x)):
            torch.testing.assert_close(y, x)


# ---- deepinv, an independent implementation

def test_mask_is_deepinvs_inpainting():
    """deepinv keeps the image's shape where we keep the observed pixels: its A is our A^T A."""
    from deepinv.physics import Inpainting
    a, x = random_mask((3, 8, 10), 0.7, seed=0), randn(2, 3, 8, 10)
    theirs = Inpainting(img_size=a.shape, mask=a.observed.double())
    assert torch.equal(a.adjoint(a(x)), theirs.A(x))
    assert torch.equal(a(theirs.A(x)), a(x))
    assert torch.equal(a.pseudo_inverse(a(x)), theirs.A_dagger(theirs.A(x)))


@pytest.mark.parametrize(("shape", "factor"), [((1, 28, 28), 4), ((3, 8, 12), 2)])
def test_pool_is_deepinvs_downsampling(shape, factor):
    """A box filter without padding, then every factor-th pixel. Its inverse is a slightly regularized iteration."""
    from deepinv.physics import Downsampling
    a, x = Pool(shape, factor), randn(2, *shape)
    flat = torch.full((1, 1, factor, factor), 1 / factor**2, dtype=torch.float64)
    theirs = Downsampling(img_size=shape, filter=flat, factor=factor, padding="valid")
    torch.testing.assert_close(a(x), theirs.A(x))
    torch.testing.assert_close(a.adjoint(a(x)), theirs.A_adjoint(theirs.A(x)))
    torch.testing.assert_close(a.pseudo_inverse(a(x)), theirs.A_dagger(theirs.A(x)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (4, 6)])
def test_blur_is_deepinvs(kernel):
    """With deepinv's own cutoff, 1e-5, for the inverse. Its other class puts the middle of even kernels elsewhere."""
    import deepinv
    x, k = randn(2, 3, 9, 12), rand(*kernel)
    a = Blur((3, 9, 12), k, "test", cutoff=1e-5)
    theirs = deepinv.physics.BlurFFT(img_size=a.shape, filter=a.kernel[None, None])
    torch.testing.assert_close(a(x), theirs.A(x))
    torch.testing.assert_close(a.adjoint(x), theirs.A_adjoint(x))
    torch.testing.assert_close(a.pseudo_inverse(x), theirs.A_dagger(x))
    if all(side % 2 for side in kernel):
        theirs = deepinv.physics.Blur(filter=a.kernel[None, None], padding="circular")
        torch.testing.assert_close(a(x), theirs.A(x))
        torch.testing.assert_close(a.adjoint(x), theirs.A_adjoint(x))


# ---- the noise

@EACH
def test_measure_adds_noise(a):
    x = pair(a)[0]
    y = a.measure(x, 0.3, torch.Generator().manual_seed(5))
    again = a.measure(x, 0.6, torch.Generator().manual_seed(5))
    assert torch.equal(a.measure(x, 0.3, torch.Generator().manual_seed(5)), y)
    assert torch.equal(a.measure(x, 0.0, torch.Generator().manual_seed(5)), a(x))
    torch.testing.assert_close(again - a(x), 2 * (y - a(x)))
    single = a.measure(x.float(), 0.3, torch.Generator().manual_seed(5))
    torch.testing.assert_close(single.double(), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_noise_is_standard_normal(name):
    """Mean, variance, fourth moment and independence of neighbors, each within 5 standard errors."""
    a, g = make_operator(name, (1, 28, 28)), torch.Generator().manual_seed(1)
    x = randn(100, 1, 28, 28)
    first, second = ((a.measure(x, 0.05, g) - a(x)).flatten() / 0.05 for _ in range(2))      # a generator moves on
    for eps, other in itertools.permutations((first, second)):
        unit = len(eps) ** -0.5
        assert eps.mean().abs() < 5 * unit and (eps.square().mean() - 1).abs() < 5 * 2**0.5 * unit
        assert (eps**4).mean().sub(3).abs() < 5 * 96**0.5 * unit
        assert (eps[1:] * eps[:-1]).mean().abs() < 5 * unit and (eps * other).mean().abs() < 5 * unit
    assert (first * a(x).flatten()).mean().abs() < 5 * a(x).std() * unit


# ---- types, devices, errors

@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_types_and_devices_stay(a, dtype):
    x, y = pair(a)
    for function, value in ((a, x), (a.adjoint, y), (a.pseudo_inverse, y), (a.hidden, x)):
        out, rough = function(value), function(value.to(dtype))
        limit = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 0.03, torch.bfloat16: 0.3}[dtype]
        torch.testing.assert_close(rough.double(), out, rtol=0, atol=limit)
        assert rough.dtype == dtype
        away = function(value.to("meta", dtype))
        assert (away.device.type, away.dtype, away.shape) == ("meta", dtype, out.shape)
    g = torch.Generator().manual_seed(0)
    assert a.measure(x.to(dtype), 0.1, g).dtype == dtype and a.measure(x.to("meta"), 0.1, g).device.type == "meta"


def test_images_of_another_shape_are_errors():
    for name in OPERATORS:
        a = make_operator(name, (1, 28, 28))
        for function in (a, a.hidden, lambda x, a=a: a.measure(x, 0.1, torch.Generator())):
            with pytest.raises(ValueError, match=r"^x must be \(B, 1, 28, 28\), got \(2, 3, 28, 28\)$"):
                function(torch.zeros(2, 3, 28, 28))
            with pytest.raises(ValueError, match=r"^x must be \(B, 1, 28, 28\), got \(1, 28, 28\)$"):
                function(torch.zeros(1, 28, 28))
        for function in (a.adjoint, a.pseudo_inverse):
            with pytest.raises(ValueError, match=r"^y must be \(B, .*\), got \(2, 5\)$"):
                function(torch.zeros(2, 5))
        with pytest.raises(ValueError, match="^x must be floats, got torch.uint8$"):
            a(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
        with pytest.raises(ValueError, match="^noise must be a finite number, 0 or more, got -1"):
            a.measure(torch.zeros(2, 1, 28, 28), -1, torch.Generator())


ON = torch.ones(4, 4, dtype=torch.bool)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Mask(torch.ones(4, 4), "m"), "a mask must be bool, True where a pixel is observed, got torch.float32"),
    (lambda: Mask(ON, "m"), "a mask must observe some pixels, not all, got 16 of 16"),
    (lambda: Mask(~ON, "m"), "a mask must observe some pixels, not all, got 0 of 16"),
    (lambda: Mask(ON, "m", shape=(1, 4, 5)), r"for images \(1, 4, 5\) must be \(1, 4, 5\) or \(4, 5\), got \(4, 4\)"),
    (lambda: Mask(ON[None], "m", shape=(3, 4, 4)), r"must be \(3, 4, 4\) or \(4, 4\), got \(1, 4, 4\)"),
    (lambda: Mask(ON[0], "m"), r"a mask for images .*, got \(4,\)|the shape of an image is \(C, H, W\), got \(1, 4\)"),
    (lambda: box((1, 4, 6), 5), r"the side of a box in images \(1, 4, 6\) must be from 1 to 4, got 5"),
    (lambda: box((1, 4, 6), 0), "must be from 1 to 4, got 0"),
    (lambda: box((1, 4, 4), 4), "not all, got 0 of 16"),
    (lambda: random_mask((1, 4, 4), 70, seed=0), "need a share from 0 to 1, got 70"),
    (lambda: random_mask((1, 4, 4), 0.5, seed=-1), "seed must be a whole number .*, got -1"),
    (lambda: random_mask((1, 4, 4), 0.5, seed=1.5), "seed must be a whole number .*, got 1.5"),
    (lambda: random_mask((1, 4, 4), 0.0, seed=0), "not all, got 16 of 16"),
    (lambda: random_mask((1, 4, 4), 1.0, seed=0), "not all, got 0 of 16"),
    (lambda: Pool((1, 28, 28), 3), r"the factor must divide height and width, got 3 for images \(1, 28, 28\)"),
    (lambda: Pool((1, 28, 28), 0), "got 0 for images"),
    (lambda: Pool((28, 28), 2), r"the shape of an image is \(C, H, W\), got \(28, 28\)"),
    (lambda: Blur((1, 8, 8), torch.ones(9, 3), "b"), r"images \(1, 8, 8\) is 2-D, at most \(8, 8\), got \(9, 3\)"),
    (lambda: Blur((1, 8, 8), torch.ones(3), "b"), r"is 2-D, at most \(8, 8\), got \(3,\)"),
    (lambda: Blur((1, 8, 8), torch.tensor([[1.0, -1.0]]), "b"), r"need a kernel with a positive sum .* 0 and 0.1"),
    (lambda: Blur((1, 8, 8), torch.ones(3, 3), "b", cutoff=0), r"a cutoff in \(0, 1\), got 9 and 0"),
    (lambda: gaussian_blur((1, 8, 8), 0.0), "the standard deviation of a blur must be positive, got 0.0"),
    (lambda: gaussian_blur((1, 8, 8), 5.0), r"at most \(8, 8\), got \(41, 41\)"),
    (lambda: motion_blur((1, 8, 8), 1), "a motion must be 2 pixels long or more, got 1"),
    (lambda: make_operator("phase", (1, 8, 8)), "unknown operator 'phase'; known: box, random, sr2, sr4, gaussian, m"),
    (lambda: make_operator("box", (28, 28)), r"the shape of an image is \(C, H, W\), got \(28, 28\)"),
    (lambda: make_operator("sr4", (1, 30, 30)), "the factor must divide height and width, got 4"),
])
def test_errors(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
