import numpy as np
import pytest
import tensorly
import torch
from tensorly.decomposition import non_negative_parafac_hals, parafac

from salvit.extractors.cp import CPDecomposition, cp_als, decompose, iterate
from salvit.extractors.cp.start import initial_factors


def low_rank(*shape: int, rank: int, noise: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Float64 tensors [B, d_1, …, d_n] of an exact rank, plus relative Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    batch, *dims = shape
    factors = [torch.randn(batch, d, rank, dtype=torch.float64, generator=generator) for d in dims]
    tensor = expand(torch.ones(batch, rank, dtype=torch.float64), factors)
    extra = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
    return tensor + noise * extra * tensor.flatten(1).std(dim=1).view(-1, *[1] * len(dims))


def attention_like(batch: int, heads: int, h: int, w: int, seed: int = 0) -> torch.Tensor:
    """Float64 softmax attention [B, heads, hw, h, w] of smooth random features; some heads look nearby."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 8, h + 2, w + 2, dtype=torch.float64, generator=generator)
    features = torch.nn.functional.avg_pool2d(noise, 3, stride=1).flatten(2).mT
    project = torch.randn(2, heads, 8, 6, dtype=torch.float64, generator=generator)
    query, key = torch.einsum("bnc,xhcd->xbhnd", features, project)
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    position = torch.stack([rows.flatten(), columns.flatten()], dim=1).double()
    near = torch.cdist(position, position) * torch.linspace(0, 0.8, heads)[:, None, None]
    return (1.5 * query @ key.mT - near).softmax(dim=-1).unflatten(-1, (h, w))


def expand(weights: torch.Tensor, factors: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The dense tensors of weights [B, R] and factors [B, d_i, R]."""
    letters = "ijklm"[: len(factors)]
    terms = ",".join(f"b{letter}r" for letter in letters)
    return torch.einsum(f"br,{terms}->b{letters}", weights, *factors)


def residual(tensor: torch.Tensor, cp: CPDecomposition) -> torch.Tensor:
    """Relative error of each sample, by forming the fit."""
    difference = tensor - expand(cp.weights, cp.factors)
    return difference.flatten(1).norm(dim=1) / tensor.flatten(1).norm(dim=1)


def naive_sweep(tensor: np.ndarray, factors: list[np.ndarray]) -> list[np.ndarray]:
    """One ALS sweep over a single tensor as the textbook has it: unfoldings, Khatri-Rao products, lstsq."""
    factors = list(factors)
    for mode in range(tensor.ndim):
        khatri_rao = tensorly.tenalg.khatri_rao(factors, skip_matrix=mode)
        factors[mode] = np.linalg.lstsq(khatri_rao, tensorly.unfold(tensor, mode).T)[0].T
    return factors


def tensorly_errors(tensor: torch.Tensor, rank: int, decompose=parafac) -> torch.Tensor:
    """Of each sample."""
    errors = []
    for array in tensor.numpy():
        fit = tensorly.cp_to_tensor(decompose(array, rank, init="svd", random_state=0))
        errors.append(float(np.linalg.norm(array - fit) / np.linalg.norm(array)))
    return torch.tensor(errors)


@pytest.mark.parametrize("dims", [(5, 7, 6), (3, 20, 4, 5), (3, 4, 5, 3, 4)])
@pytest.mark.parametrize("init", ["svd", "random"])
def test_first_sweep_is_textbook_als(dims, init):
    tensor = low_rank(2, *dims, rank=4, noise=0.5)
    unit = tensor / tensor.flatten(1).norm(dim=1).view(-1, *[1] * len(dims))
    start = initial_factors(unit, 4, init, seed=3).mT.split(list(dims), dim=1)
    got = cp_als(tensor, 4, init=init, seed=3, max_iter=1)
    for sample in range(2):
        expected = naive_sweep(tensor[sample].numpy(), [f[sample].numpy() for f in start])
        dense = tensorly.cp_to_tensor((None, expected))
        np.testing.assert_allclose(expand(got.weights, got.factors)[sample].numpy(), dense, rtol=0, atol=1e-8)


def test_svd_start_is_the_leading_singular_vectors_and_random_beyond():
    tensor = low_rank(2, 4, 80, 5, 4, rank=6)
    dims = list(tensor.shape[1:])
    svd, random = (
        initial_factors(tensor, 12, init, seed=0).mT.split(dims, dim=1) for init in ("svd", "random")
    )
    for sample in range(2):
        unfolding = np.moveaxis(tensor[sample].numpy(), 1, 0).reshape(80, -1)
        vectors, values, _ = np.linalg.svd(unfolding, full_matrices=False)
        reached = int((values > 0.032 * values[0]).sum())
        cosines = np.abs((vectors[:, :reached] * svd[1][sample, :, :reached].numpy()).sum(axis=0))
        np.testing.assert_allclose(cosines, 1, atol=1e-9)
        torch.testing.assert_close(svd[1][sample, :, reached:], random[1][sample, :, reached:])


@pytest.mark.parametrize(
    ("dims", "rank", "noise"),
    [((4, 20, 5, 4), 3, 0.0), ((10, 12, 11), 5, 0.3), ((4, 20, 5, 4), 6, 0.1), ((3, 4, 5, 4, 3), 4, 0.1)],
)
@pytest.mark.filterwarnings("ignore:Trying to compute SVD with n_eigenvecs:UserWarning")
def test_error_of_every_sample_is_within_one_percent_of_tensorly(dims, rank, noise):
    tensor = low_rank(4, *dims, rank=rank, noise=noise)
    got = residual(tensor, cp_als(tensor, rank))
    assert (got <= 1.01 * tensorly_errors(tensor, rank) + 1e-6).all()


# Where no low rank stands out, ALS ends in one of many minima: tensorly's own two starts differ by up to 36 %
# on a sample, so that only the mean over samples tells which program fits better.
@pytest.mark.parametrize(
    ("seed", "rank", "nonnegative"), [(1, 24, False), (2, 24, False), (1, 3, True), (1, 24, True)]
)
@pytest.mark.filterwarnings("ignore:Trying to compute SVD with n_eigenvecs:UserWarning")
def test_mean_error_on_attention_is_within_one_percent_of_tensorly(seed, rank, nonnegative):
    tensor = attention_like(6, 4, 5, 6, seed=seed)
    got = residual(tensor, cp_als(tensor, rank, nonnegative=nonnegative))
    expected = tensorly_errors(tensor, rank, non_negative_parafac_hals if nonnegative else parafac)
    assert got.mean() <= 1.01 * expected.mean()


@pytest.mark.parametrize(("dims", "rank"), [((6, 7, 8), 4), ((4, 30, 5, 6), 5), ((3, 4, 3, 4, 3), 3)])
def test_recovers_an_exact_low_rank_tensor(dims, rank):
    tensor = low_rank(3, *dims, rank=rank)
    assert residual(tensor, cp_als(tensor, rank, tol=1e-9, max_iter=2000)).max() < 1e-6


def test_recovers_an_exact_non_negative_tensor():
    generator = torch.Generator().manual_seed(0)
    columns = [torch.rand(2, d, 3, dtype=torch.float64, generator=generator) ** 2 for d in (6, 20, 5, 4)]
    tensor = expand(torch.ones(2, 3, dtype=torch.float64), columns)
    cp = cp_als(tensor, 3, nonnegative=True, tol=1e-9, max_iter=2000)
    assert residual(tensor, cp).max() < 1e-3


def test_errors_are_those_of_the_fit():
    for tensor, rank in [(attention_like(3, 4, 5, 6), 8), (low_rank(2, 6, 7, 8, rank=9, noise=1.0), 3)]:
        cp = cp_als(tensor, rank)
        torch.testing.assert_close(cp.errors, residual(tensor, cp), rtol=1e-9, atol=0)


def test_more_sweeps_never_raise_the_error():
    tensor = attention_like(4, 4, 4, 5)
    errors = torch.stack([cp_als(tensor, 8, max_iter=n, tol=0).errors for n in range(1, 31)])
    assert (errors.diff(dim=0) <= 1e-12).all()


def test_momentum_shortens_the_swamp_of_nearly_parallel_terms():
    generator = torch.Generator().manual_seed(0)
    columns = [1 + 0.5 * torch.randn(1, d, 4, dtype=torch.float64, generator=generator) for d in (8, 9, 10)]
    tensor = expand(torch.ones(1, 4, dtype=torch.float64), columns)
    tensor /= tensor.norm()
    factors = [f[0].numpy() for f in initial_factors(tensor, 4, "svd", seed=0).mT.split([8, 9, 10], dim=1)]
    for _ in range(50):
        factors = naive_sweep(tensor[0].numpy(), factors)
    plain = np.linalg.norm(tensor[0].numpy() - tensorly.cp_to_tensor((None, factors)))
    assert cp_als(tensor, 4, max_iter=25, tol=0).errors[0] < plain / 2


def test_normal_form():
    cp = cp_als(low_rank(4, 3, 20, 4, 5, rank=6, noise=0.5), 5)
    assert (cp.weights >= 0).all()
    assert (cp.weights.diff(dim=1) <= 0).all()
    for factor in cp.factors:
        torch.testing.assert_close(factor.norm(dim=1), torch.ones_like(cp.weights))
    for factor in cp.factors[1:]:
        assert (factor.sum(dim=1) >= 0).all()
    assert (cp.factors[0].sum(dim=1) < 0).any()


def mixed_batch() -> torch.Tensor:
    """Samples that converge at very different times."""
    dims = (4, 20, 4, 5)
    parts = [attention_like(2, 4, 4, 5), low_rank(1, *dims, rank=2), low_rank(2, *dims, rank=30, noise=1.0)]
    return torch.cat([*parts, torch.zeros(1, *dims, dtype=torch.float64), attention_like(1, 4, 4, 5, seed=1)])


def assert_same(left: CPDecomposition, right: CPDecomposition) -> None:
    # Sweeps enlarge rounding, which differs between batch sizes and machines: weights of 160 differ by 3e-7.
    torch.testing.assert_close(left.weights, right.weights, rtol=1e-5, atol=1e-6)
    for a, b in zip(left.factors, right.factors, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    torch.testing.assert_close(left.n_iter, right.n_iter)


@pytest.mark.parametrize("init", ["svd", "random"])
def test_no_sample_depends_on_the_batch(init):
    tensor = mixed_batch()
    together = cp_als(tensor, 6, init=init)
    assert len(together.n_iter.unique()) > 3
    for index, sample in enumerate(tensor):
        weights, factors, errors, n_iter = together
        one = CPDecomposition(
            weights[[index]], [f[[index]] for f in factors], errors[[index]], n_iter[[index]]
        )
        assert_same(cp_als(sample[None], 6, init=init), one)


def test_deterministic_for_a_seed():
    tensor = attention_like(2, 4, 5, 5)
    first, again, other = cp_als(tensor, 12), cp_als(tensor, 12), cp_als(tensor, 12, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.factors, again.factors, strict=True))
    assert not torch.allclose(first.weights, other.weights)


def test_float32_agrees_with_float64():
    tensor = attention_like(3, 4, 6, 6)
    single, double = cp_als(tensor.float(), 16), cp_als(tensor, 16)
    assert {single.weights.dtype, single.factors[0].dtype, single.errors.dtype} == {torch.float32}
    torch.testing.assert_close(single.errors.double(), double.errors, rtol=0.01, atol=0)
    torch.testing.assert_close(single.errors.double(), residual(tensor, single), rtol=1e-3, atol=0)


def test_looser_tolerance_stops_earlier():
    tensor = attention_like(2, 4, 6, 6)
    loose, tight = cp_als(tensor, 16, tol=1e-2), cp_als(tensor, 16, tol=1e-4, max_iter=500)
    assert (loose.n_iter < tight.n_iter).all()
    assert (loose.errors > tight.errors).all()
    assert (cp_als(tensor, 16, tol=0, max_iter=7).n_iter == 7).all()


@pytest.mark.parametrize(("rank", "nonnegative"), [(1, False), (9, False), (30, False), (8, True)])
def test_constant_tensor_is_one_term(rank, nonnegative):
    tensor = torch.full((2, 3, 12, 3, 4), 0.25)
    cp = cp_als(tensor, rank, nonnegative=nonnegative)
    assert residual(tensor, cp).max() < (1e-2 if nonnegative else 4e-3)
    assert (cp.weights[:, 0] < 1.1 * tensor[0].norm()).all()  # no terms that grow and cancel


@pytest.mark.parametrize("nonnegative", [False, True])
def test_zero_tensor_has_zero_weights(nonnegative):
    cp = cp_als(torch.zeros(2, 3, 12, 3, 4), 8, nonnegative=nonnegative)
    assert not cp.weights.any()
    assert not cp.errors.any()
    for factor in cp.factors:
        torch.testing.assert_close(factor.norm(dim=1), torch.ones(2, 8))


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_scale_goes_to_the_weights(scale):
    tensor = attention_like(2, 4, 5, 5).float()
    plain, scaled = cp_als(tensor, 8), cp_als(scale * tensor, 8)
    torch.testing.assert_close(scaled.errors, plain.errors, rtol=0.01, atol=0)
    dense = expand(scaled.weights.double() / scale, [factor.double() for factor in scaled.factors])
    assert (dense - tensor).norm() <= 1.01 * (expand(plain.weights, plain.factors) - tensor).norm()


def test_autocast_and_gradients_stay_outside():
    tensor = attention_like(2, 4, 5, 5).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cp_als(tensor, 8)
    assert torch.equal(inside.errors, cp_als(tensor, 8).errors)
    assert not inside.weights.requires_grad


def test_non_finite_samples_are_named():
    tensor = attention_like(4, 3, 4, 4)
    tensor[1, 0, 3, 2, 2] = torch.nan
    tensor[3, 0, 0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"samples \[1, 3\]"):
        cp_als(tensor, 4)


@pytest.mark.parametrize(
    ("tensor", "options", "message"),
    [
        (torch.rand(2, 3, 4), {}, r"\[B, d_1, …, d_n\]"),
        (torch.ones(2, 3, 4, 5, dtype=torch.int64), {}, "int64"),
        (torch.rand(2, 3, 4, 5), {"rank": 13}, "between 1 and 12"),
        (torch.rand(2, 3, 4, 5), {"init": "hosvd"}, "hosvd"),
        (torch.rand(2, 3, 4, 5), {"max_iter": 0}, "max_iter"),
        (torch.rand(2, 3, 4, 5), {"tol": -1.0}, "tol"),
    ],
)
def test_bad_arguments(tensor, options, message):
    with pytest.raises(ValueError, match=message):
        cp_als(tensor, **{"rank": 2, **options})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_non_negative_factors(dtype):
    tensor = attention_like(3, 4, 5, 6).to(dtype)
    cp = cp_als(tensor, 12, nonnegative=True)
    assert all((factor >= 0).all() for factor in cp.factors)
    assert (cp.weights.diff(dim=1) <= 0).all()
    torch.testing.assert_close(cp.errors, residual(tensor, cp), rtol=1e-3, atol=0)
    assert (cp.errors > cp_als(tensor, 12).errors).all()  # a constraint costs something
    assert (cp.weights[:, 0] <= tensor.flatten(1).norm(dim=1)).all()  # parts cannot cancel


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("rank", [6, 40])
def test_coarse_sweeps_cost_no_error(monkeypatch, nonnegative, rank):
    tensor = attention_like(3, 3, 11, 12).float()
    assert (cp_als(tensor, rank, nonnegative=nonnegative, max_iter=1).n_iter == 1).all()
    coarse = cp_als(tensor, rank, nonnegative=nonnegative)
    torch.testing.assert_close(coarse.errors, residual(tensor, coarse), rtol=2e-3, atol=0)
    assert (coarse.n_iter <= 100).all()
    monkeypatch.setattr(decompose, "_LARGE", 10_000)
    whole = cp_als(tensor, rank, nonnegative=nonnegative)
    assert not torch.equal(coarse.errors, whole.errors)
    assert coarse.errors.mean() <= 1.01 * whole.errors.mean()


def test_the_device_is_asked_rarely_for_the_same_result(monkeypatch):
    tensor = mixed_batch()
    expected, asked = cp_als(tensor, 6), []
    monkeypatch.setattr(iterate, "_SWEEPS_BETWEEN_CHECKS", {})
    of_tensor = torch.Tensor.__int__
    monkeypatch.setattr(torch.Tensor, "__int__", lambda self: asked.append(0) or of_tensor(self))
    assert_same(cp_als(tensor, 6), expected)
    assert 1 <= len(asked) <= expected.n_iter.max() / 10 + 1
