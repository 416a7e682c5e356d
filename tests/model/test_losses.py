"""The losses equal those of torch."""

import torch

from psahw.model.losses import Distillation, cross_entropy, mean_answer, smooth_targets


def test_losses_against_torch():
    torch.manual_seed(4)
    logits, teacher, labels = torch.randn(6, 10), torch.randn(6, 10), torch.arange(6)
    ours = cross_entropy(logits, smooth_targets(labels, 10, 0.1))
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1))
    soft = torch.nn.functional.kl_div(
        (logits / 2).log_softmax(1), (teacher / 2).log_softmax(1), log_target=True, reduction="batchmean"
    )
    expected = 0.8 * 4 * soft + 0.2 * torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(Distillation(0.8, 2.0)(logits, smooth_targets(labels, 10, 0), teacher), expected)


def test_mean_answer_is_the_mean_of_probabilities():
    logits = torch.randn(3, 5, 10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mean_answer(list(logits)).exp(), logits.softmax(-1).mean(0))
    torch.testing.assert_close(mean_answer([logits[0]]), logits[0].log_softmax(-1))
